"""MMRL and MMRL++ for open_clip. Importing this package registers the models with open_clip."""

from .adapters import load_adapter, read_adapter_info, save_adapter
from .config import MMRLConfig, TrainConfig
from .losses import MMRLLoss
from .model import MMRLCLIP
from .official import load_official_state_dict
from .task import MMRLTask

__version__ = "0.1.0"

__all__ = [
    "MMRLCLIP",
    "MMRLConfig",
    "MMRLLoss",
    "MMRLTask",
    "TrainConfig",
    "load_adapter",
    "load_official_state_dict",
    "read_adapter_info",
    "save_adapter",
]
