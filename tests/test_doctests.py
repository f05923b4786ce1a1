"""The examples in the docstrings of the exported names."""

import doctest
import sys

import pytest

import open_clip_mmrl

EXPORTED = {name: getattr(open_clip_mmrl, name) for name in open_clip_mmrl.__all__}
MODULES = sorted({value.__module__ for value in EXPORTED.values()})
EXAMPLES = [
    example
    for module in MODULES
    for example in doctest.DocTestFinder(exclude_empty=True).find(sys.modules[module])
    if example.examples
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where it may write files
    report = []
    result = doctest.DocTestRunner().run(example, out=report.append)
    assert not result.failed, "".join(report)


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_name_has_an_example(name):
    assert f"{EXPORTED[name].__module__}.{name}" in {example.name for example in EXAMPLES}
