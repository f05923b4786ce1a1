"""Rules of the source that no linter holds, read off the source itself."""

import ast
from pathlib import Path

import pytest

import benchmark_adapters
import open_clip_mmrl

PACKAGES = [Path(package.__file__).parent for package in (open_clip_mmrl, benchmark_adapters)]
FILES = pytest.mark.parametrize(
    "path",
    [path for package in PACKAGES for path in sorted(package.rglob("*.py"))],
    ids=lambda path: "/".join(path.parts[-3:]),
)


def nodes(path):
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def imported(path):
    """The top-level names of the other packages that a file imports."""
    names = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names


def dotted(node):
    """`a.b.c` of an expression, or nothing."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([*([node.id] if isinstance(node, ast.Name) else []), *reversed(names)])


@FILES
def test_module_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@FILES
def test_nothing_is_compiled_or_unpickled(path):
    assert not imported(path) & {"triton", "pickle", "cloudpickle", "dill", "joblib"}
    for node in nodes(path):
        if isinstance(node, ast.Attribute | ast.Name):
            assert dotted(node) not in ("torch.compile", "torch.jit.script", "torch.jit.trace")
        if isinstance(node, ast.Call) and dotted(node.func) == "torch.load":
            safe = {k.arg: k.value for k in node.keywords}.get("weights_only")
            assert isinstance(safe, ast.Constant) and safe.value is True, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module == "torch":
            assert not {alias.name for alias in node.names} & {"compile", "load", "jit"}


@FILES
def test_only_the_seam_changes_modules_of_clip_benchmark(path):
    calls = {dotted(node.func) for node in nodes(path) if isinstance(node, ast.Call)}
    assert "setattr" not in calls or path.stem == "seam" or path.parts[-2] != "benchmark_adapters"
