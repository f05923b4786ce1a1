"""The shape of the package, read off its source: who may import whom, and what nobody does."""

import ast
import sys
from pathlib import Path

import pytest

import open_clip_mmrl

ROOT = Path(open_clip_mmrl.__file__).parent
LAYERS = [
    "errors config losses blocks grouping representation sampling progress "
    "files names memory metrics scores environment graph optimizer",
    "vision text data precision rates assets suitability cache",
    "model images prompting augment",
    "sharing bases adapters official task reference evaluate creation registry",
    "trainer recipes building probe runs reporting bench",
    "folders testing selection baselines transfer protocols estimate plan runner classifier "
    "report demo speed wholerun",
    "tables cli",
]
LAYER = {name: depth for depth, names in enumerate(LAYERS) for name in names.split()}
# The package's face and its command line entry stand above everything.
TOP = {"__init__", "__main__"}


def sources():
    return sorted(ROOT.rglob("*.py"))


def parts(path):
    """data/coop.py -> ("data", "coop")."""
    return path.relative_to(ROOT).with_suffix("").parts


def ids(path):
    return ".".join(parts(path))


FILES = pytest.mark.parametrize("path", sources(), ids=ids)


def imports(path):
    """Dotted names of all modules that a file imports, wherever in it the import stands.

    Our own are written from the package on: ("data", "base"); others as ("", "torch").
    """
    package = parts(path)[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [(0, alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [(node.level, node.module or "", [alias.name for alias in node.names])]
        else:
            continue
        for level, module, names in found:
            dotted = module.split(".") if module else []
            if not level and dotted[0] == "open_clip_mmrl":
                level, dotted, package_now = 1, dotted[1:], ()
            else:
                package_now = package
            if not level:
                yield ("", *dotted)
            elif dotted:
                yield (*package_now[: len(package_now) - level + 1], *dotted)
            else:
                for name in names:
                    yield (*package_now[: len(package_now) - level + 1], name)


def own(path):
    """The modules of ours at the top level that a file imports."""
    return {name[0] for name in imports(path) if name[0]} & set(LAYER)


def others(path):
    """The top-level names of everything else that a file imports."""
    return {name[1] for name in imports(path) if not name[0]}


def test_every_module_has_a_layer():
    found = {parts(path)[0] for path in sources()} - TOP
    assert found == set(LAYER), "give a new module its place in LAYERS"


@FILES
def test_lower_layers_never_import_higher_ones(path):
    name = parts(path)[0]
    if name in LAYER:
        higher = {other for other in own(path) if LAYER[other] > LAYER[name]}
        assert not higher, f"{name} is in layer {LAYER[name]}"


def test_no_module_imports_itself_in_a_circle():
    graph = {name: set() for name in LAYER}
    for path in sources():
        name = parts(path)[0]
        if name in graph:
            graph[name] |= own(path) - {name}
    while graph:  # take away what imports nothing that is left
        free = {name for name, needed in graph.items() if not needed & set(graph)}
        assert free, f"a circle among {sorted(graph)}"
        graph = {name: needed for name, needed in graph.items() if name not in free}


@pytest.mark.parametrize("name", ["config", "errors", "sampling"])
def test_plain_modules_need_the_standard_library_only(name):
    path = ROOT / f"{name}.py"
    assert others(path) <= set(sys.stdlib_module_names)
    assert own(path) <= {"errors"}


def test_reports_need_no_torch():
    """Not by themselves, and not by what they import."""
    seen, open_names = set(), {"report"}
    while open_names:
        name = open_names.pop()
        seen.add(name)
        path = ROOT / f"{name}.py"
        files = [path] if path.is_file() else sorted((ROOT / name).rglob("*.py"))
        for file in files:
            assert not others(file) & {"torch", "torchvision", "open_clip", "timm"}, file.name
            open_names |= own(file) - seen


@FILES
def test_modules_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def dotted(node):
    """`a.b.c` of an expression, or nothing."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([*([node.id] if isinstance(node, ast.Name) else []), *reversed(names)])


@FILES
def test_nothing_is_compiled_or_unpickled(path):
    assert not others(path) & {"triton", "pickle", "cloudpickle", "dill", "joblib"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute | ast.Name):
            assert dotted(node) not in ("torch.compile", "torch.jit.script", "torch.jit.trace")
        if isinstance(node, ast.Call) and dotted(node.func) == "torch.load":
            safe = {k.arg: k.value for k in node.keywords}.get("weights_only")
            assert isinstance(safe, ast.Constant) and safe.value is True, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module == "torch":
            assert not {alias.name for alias in node.names} & {"compile", "load", "jit"}


def test_the_reader_of_imports_reads_every_form(tmp_path, monkeypatch):
    """So that the tests above cannot pass by overlooking something."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "new.py"
    path.write_text(
        "import torch.nn as nn, os\n"
        "from . import base\n"
        "from .coop import read\n"
        "from .. import text as t, vision\n"
        "from ..errors import UsageError\n"
        "import open_clip_mmrl.model\n"
        "from open_clip_mmrl import cli\n"
        "def later():\n    from ..task import unit\n    from numpy import array\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert set(imports(path)) == {
        ("", "torch", "nn"),
        ("", "os"),
        ("data", "base"),
        ("data", "coop"),
        ("text",),
        ("vision",),
        ("errors",),
        ("model",),
        ("cli",),
        ("task",),
        ("", "numpy"),
    }
    assert others(path) == {"torch", "os", "numpy"}
    assert own(path) == {"data", "text", "vision", "errors", "model", "cli", "task"}
