"""Run an action as soon as another package has been imported, without importing it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class AfterImport(MetaPathFinder):
    """Run `action` once: at once if the package `name` is there, or else right after its import."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name, self.action, self.done = name, action, False

    def install(self) -> None:
        """Run the action, or wait for the import of the package."""
        self.done = False
        if self.name in sys.modules:
            importlib.import_module(self.name)  # waits for a thread that has not finished it
            self.run()
        elif self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def run(self) -> None:
        """Run the action now, unless that has been done or canceled."""
        if not self.done:
            self.action()
            self.cancel()

    def cancel(self) -> None:
        """Stop waiting."""
        self.done = True
        # A new list: another thread may be iterating over the old one.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the package as the other finders do, and put `_Loader` around its loader."""
        if fullname != self.name or self.done:
            return None
        others = [f for f in sys.meta_path if f is not self and hasattr(f, "find_spec")]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        loader = spec.loader if spec is not None else None
        if spec is not None and loader is not None and hasattr(loader, "exec_module"):
            spec.loader = _Loader(spec, loader, self)
        return spec


class _Loader(Loader):
    """The package's own loader, with the action after it."""

    def __init__(self, spec: ModuleSpec, loader: Loader, hook: AfterImport) -> None:
        self.spec, self.loader, self.hook = spec, loader, hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.spec.loader = module.__loader__ = self.loader  # the package sees its own
        self.loader.exec_module(module)
        self.hook.run()
