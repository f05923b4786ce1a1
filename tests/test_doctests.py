"""The examples in docstrings run, and every exported name has one."""

import doctest
import importlib
from pathlib import Path

import pytest

import benchmark_adapters
import open_clip_mmrl


def modules_with_examples():
    for package in (open_clip_mmrl, benchmark_adapters):
        folder = Path(package.__file__).parent
        for path in sorted(folder.rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                parts = path.relative_to(folder.parent).with_suffix("").parts
                yield ".".join(parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_examples_print_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where they may write files
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted and not found.failed


@pytest.mark.parametrize("name", open_clip_mmrl.__all__)
def test_exported_name_has_an_example(name):
    assert ">>> " in getattr(open_clip_mmrl, name).__doc__
