"""MMRL and MMRL++ for open_clip. Importing this package registers the models with open_clip."""

from .config import MMRLConfig, TrainConfig
from .hub.adapter_file import load_adapter, read_adapter_info, save_adapter
from .hub.import_official import load_official_state_dict
from .hub.registry import register, unregister
from .models.losses import MMRLLoss
from .models.mmrl_clip import MMRLCLIP
from .models.siblings import encode_image_each
from .models.task import MMRLTask

__version__ = "0.1.0"

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

register()


def __getattr__(name: str):
    """FewShotClassifier on demand: it brings scikit-learn, a second of import time."""
    if name == "FewShotClassifier":
        from .classifier import FewShotClassifier

        return FewShotClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
