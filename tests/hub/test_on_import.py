"""Acting after another package's import, on packages made here."""

import importlib
import importlib.util
import sys
import threading
import zipfile

import pytest

import open_clip_mmrl
from open_clip_mmrl.hub.on_import import AfterImport

NAME = "package_made_for_a_test"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a package that can be imported, with this source in its `__init__`."""
    finders = sys.meta_path

    def write(source="value = 1", submodule="other = 2"):
        folder = tmp_path / NAME
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text(source)
        (folder / "part.py").write_text(submodule)
        importlib.invalidate_caches()
        return folder

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield write
    sys.meta_path = finders
    for name in [name for name in sys.modules if name.split(".")[0] == NAME]:
        del sys.modules[name]


@pytest.fixture
def hook():
    """A hook on that package, and what it has seen of it."""
    seen = []
    hook = AfterImport(NAME, lambda: seen.append(vars(sys.modules[NAME]).get("value")))
    hook.seen = seen
    yield hook
    hook.cancel()


def test_action_runs_right_after_the_import_and_once(package, hook):
    package()
    hook.install()
    hook.install()
    assert hook.seen == [] and sys.meta_path.count(hook) == 1
    module = importlib.import_module(NAME)
    assert hook.seen == [1] and hook not in sys.meta_path
    importlib.reload(module)
    importlib.import_module(NAME + ".part")
    hook.run()
    assert hook.seen == [1]


def test_action_runs_at_once_where_the_package_is_imported(package, hook):
    package()
    importlib.import_module(NAME)
    hook.install()
    assert hook.seen == [1] and hook not in sys.meta_path


@pytest.mark.parametrize("statement", [f"import {NAME}.part", f"from {NAME} import value"])
def test_every_form_of_import_is_noticed(package, hook, statement):
    package()
    hook.install()
    exec(statement, {})
    assert hook.seen == [1]


def test_package_keeps_its_own_loader(package, hook):
    package("value = __loader__, __spec__.loader")
    hook.install()
    module = importlib.import_module(NAME)
    for loader in (*module.value, module.__loader__, module.__spec__.loader):
        assert type(loader) is importlib.machinery.SourceFileLoader


def test_package_in_a_zip_archive(tmp_path, package, hook, monkeypatch):
    folder = package("from . import part\nvalue = part.other")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"{NAME}/{path.name}")
            path.unlink()
    folder.rmdir()
    monkeypatch.syspath_prepend(tmp_path / "a.zip")
    hook.install()
    importlib.import_module(NAME)
    assert hook.seen == [2]


def test_looking_for_the_package_is_no_import(package, hook):
    package()
    hook.install()
    spec = importlib.util.find_spec(NAME)
    assert spec.loader.get_source(NAME) == "value = 1"
    assert hook.seen == [] and hook in sys.meta_path


def test_package_that_is_not_installed(hook):
    hook.install()
    with pytest.raises(ModuleNotFoundError, match=NAME):
        importlib.import_module(NAME)
    assert hook in sys.meta_path


def test_failing_import_raises_its_own_error_and_may_succeed_later(package, hook):
    package("raise OSError('no disk')")
    hook.install()
    with pytest.raises(OSError, match="no disk"):
        importlib.import_module(NAME)
    assert hook.seen == [] and hook in sys.meta_path
    package("value = 3 # now")
    importlib.import_module(NAME)
    assert hook.seen == [3]


def test_canceled_action_does_not_run(package, hook):
    package()
    hook.install()
    hook.cancel()
    hook.run()
    importlib.import_module(NAME)
    assert hook.seen == []


def test_threads_that_import_at_once_all_find_the_action_done(package, hook):
    package("import time\ntime.sleep(0.1)\nvalue = 1")
    hook.install()
    found = []

    def work():
        importlib.import_module(NAME)
        found.append(list(hook.seen))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[1]] * 8 and hook.seen == [1]


def test_reload_registers_again():
    open_clip_mmrl.unregister()
    try:
        importlib.reload(open_clip_mmrl)
        import open_clip

        assert "mmrl-ViT-B-16" in open_clip.list_models()
    finally:
        open_clip_mmrl.register()


def test_public_names_are_there():
    assert open_clip_mmrl.__all__ == sorted(open_clip_mmrl.__all__, key=_ruff_order)
    assert set(open_clip_mmrl.__all__) <= set(dir(open_clip_mmrl))
    for name in open_clip_mmrl.__all__:
        assert getattr(open_clip_mmrl, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        open_clip_mmrl.nothing  # noqa: B018 (the access is the test)


def _ruff_order(name):
    """Constants, classes, functions."""
    return (not name.isupper(), not name[0].isupper(), name)
