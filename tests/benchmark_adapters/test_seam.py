"""What is changed in clip_benchmark, and that all of it can be undone."""

import importlib
import subprocess
import sys

import pytest
import torch
from clip_benchmark import cli, models
from clip_benchmark.metrics import linear_probe, zeroshot_classification

import benchmark_adapters
from benchmark_adapters import seam

PLACES = [(patch.module, patch.name) for patch in seam._patches()]
TYPES = ["mmrl", "mmrl_fused", "mmrl_frozen", "mmrl_auto"]


@pytest.fixture(autouse=True)
def _from_the_start():
    """Undo what other tests have registered."""
    benchmark_adapters.unregister()
    yield
    benchmark_adapters.unregister()


def current():
    return {place: getattr(importlib.import_module(place[0]), place[1]) for place in PLACES}


def test_register_replaces_and_unregister_puts_back():
    before, types, names = current(), dict(models.TYPE2FUNC), list(models.MODEL_TYPES)
    held = models.MODEL_TYPES, cli.MODEL_TYPES
    benchmark_adapters.register()
    registered = current()
    assert all(registered[place] is not before[place] for place in PLACES)
    assert names + TYPES == models.MODEL_TYPES and set(models.TYPE2FUNC) == {*types, *TYPES}
    assert held == (models.MODEL_TYPES, cli.MODEL_TYPES) and models.MODEL_TYPES is held[0]
    assert {place: seam.original(*place) for place in PLACES} == before
    benchmark_adapters.register()
    assert current() == registered and names + TYPES == models.MODEL_TYPES
    benchmark_adapters.unregister()
    benchmark_adapters.unregister()
    assert current() == before == {place: seam.original(*place) for place in PLACES}
    assert types == models.TYPE2FUNC and names == models.MODEL_TYPES


def test_unregister_keeps_later_patches_of_others():
    def theirs(args):
        return None

    before = cli.run
    benchmark_adapters.register()
    cli.run = theirs
    benchmark_adapters.unregister()
    found, cli.run = cli.run, before
    assert found is theirs


def test_another_version_is_refused_and_left_alone(monkeypatch):
    monkeypatch.delattr(cli, "main_build")
    run = cli.run
    with pytest.raises(
        ValueError, match=r"1\.6\.2 has no clip_benchmark\.cli\.main_build.*install"
    ):
        benchmark_adapters.register()
    assert cli.run is run and models.MODEL_TYPES == ["open_clip", "ja_clip"]


def test_a_module_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, seam.RETRIEVAL, None)
    with pytest.raises(ValueError, match=r"has no clip_benchmark\.metrics\.zeroshot_retrieval\."):
        benchmark_adapters.register()


def test_a_missing_dependency_of_clip_benchmark_is_raised_as_it_is(monkeypatch):
    monkeypatch.delitem(sys.modules, seam.CLI)
    monkeypatch.setitem(sys.modules, "csv", None)
    with pytest.raises(ModuleNotFoundError, match="csv"):
        benchmark_adapters.register()


def test_importing_the_package_imports_nothing_slow():
    code = "import sys, benchmark_adapters.cli; print({'torch', 'clip_benchmark'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_accuracy_is_replaced_where_it_was_imported_by_name(registered):
    logits = torch.tensor([[3.0, 2, 1], [3, 2, 1], [1, 2, 3], [1, 3, 2]])
    target = torch.tensor([0, 1, 0, 1])
    for module in (zeroshot_classification, linear_probe):
        assert module.accuracy(logits, target, topk=(1, 2)) == [0.5, 0.75]
        assert module.accuracy(logits, target.float(), topk=(3,)) == [1.0]
