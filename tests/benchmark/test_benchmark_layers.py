"""The shape of `benchmark_adapters`, read off its source."""

import ast
from pathlib import Path

import pytest
from test_layers import dotted

import benchmark_adapters

ROOT = Path(benchmark_adapters.__file__).parent
LAYERS = [
    "notices samples auto comparison export",
    "model_types features shards build zeroshot tasks",
    "outputs linear_probe",
    "runs",
    "seam",
    "cli",
    "fewshot_jobs",
    "fewshot",
]
LAYER = {name: depth for depth, names in enumerate(LAYERS) for name in names.split()}
TOP = {"__init__", "__main__"}
# The command line loads its subcommands by name when they are asked for.
FILES = pytest.mark.parametrize("path", sorted(ROOT.glob("*.py")), ids=lambda path: path.stem)


def own(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


def test_every_module_has_a_layer():
    assert {path.stem for path in ROOT.glob("*.py")} - TOP == set(LAYER)


@FILES
def test_modules_import_downwards_and_are_short(path):
    if path.stem in LAYER:
        assert not {name for name in own(path) if LAYER[name] >= LAYER[path.stem]}
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250


@FILES
def test_only_the_seam_changes_modules_of_clip_benchmark(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert path.stem == "seam" or "setattr" not in calls


def test_the_trainer_knows_nothing_of_the_benchmark():
    package = ROOT.parent / "open_clip_mmrl"
    for source in package.rglob("*.py"):
        assert "benchmark_adapters" not in source.read_text(encoding="utf-8"), source
