"""Start-up of the command line: quick, because modules import heavy packages when called."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "open_clip", "transformers", "sklearn", "scipy", "matplotlib"}


@pytest.mark.parametrize("module", ["open_clip_mmrl", "open_clip_mmrl.cli.app"])
def test_start_up_imports_no_heavy_package(module):
    script = f"import {module}, sys; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(found.stdout.split())
