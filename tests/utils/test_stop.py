"""What a stop leaves behind is removed without a word."""

import subprocess
import sys

from open_clip_mmrl.utils import stop

LEAK = """
import importlib.util, multiprocessing, os, sys
spec = importlib.util.spec_from_file_location("stop", sys.argv[1])
spec.loader.exec_module(stop := importlib.util.module_from_spec(spec))
stop.begin_tracker()
lock = multiprocessing.get_context("spawn").Lock()
os._exit(130)
"""


def test_semaphores_that_a_stop_left_are_removed_silently():
    done = subprocess.run(
        [sys.executable, "-c", LEAK, stop.__file__], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")
