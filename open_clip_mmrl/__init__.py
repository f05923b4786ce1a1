"""MMRL and MMRL++ for open_clip. Importing this package makes the models known to open_clip.

It imports neither torch nor open_clip: the models are registered as soon as open_clip is imported,
before or after this package, and most names below are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .config import MMRLConfig, TrainConfig
from .hub.registry import on_open_clip, register, unregister
from .version import __version__ as __version__

if TYPE_CHECKING:
    from .classifier import FewShotClassifier
    from .hub.adapter_file import load_adapter, read_adapter_info, save_adapter
    from .hub.import_official import load_official_state_dict
    from .models.losses import MMRLLoss
    from .models.mmrl_clip import MMRLCLIP
    from .models.siblings import encode_image_each
    from .models.task import MMRLTask

__all__ = [
    "MMRLCLIP",
    "FewShotClassifier",
    "MMRLConfig",
    "MMRLLoss",
    "MMRLTask",
    "TrainConfig",
    "encode_image_each",
    "load_adapter",
    "load_official_state_dict",
    "read_adapter_info",
    "register",
    "save_adapter",
    "unregister",
]

_MODULES = {
    "FewShotClassifier": "classifier",
    "MMRLCLIP": "models.mmrl_clip",
    "MMRLLoss": "models.losses",
    "MMRLTask": "models.task",
    "encode_image_each": "models.siblings",
    "load_adapter": "hub.adapter_file",
    "load_official_state_dict": "hub.import_official",
    "read_adapter_info": "hub.adapter_file",
    "save_adapter": "hub.adapter_file",
}

on_open_clip.install()


def __getattr__(name: str) -> Any:
    """Import what is used; register, should the import of open_clip have gone unnoticed."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    on_open_clip.run()
    value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
