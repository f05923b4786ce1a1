"""Record of the software and hardware of a run, for its results file."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from ..version import __version__

PACKAGES = ("open_clip_torch", "torch", "torchvision", "timm")


def environment(device: torch.device, precision: str) -> dict[str, str | int]:
    """Return versions, device, threads and precision, ready for JSON."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "python": platform.python_version(),
        "open_clip_mmrl": __version__,
        **{package: _version(package) for package in PACKAGES},
        "device": device.type,
        "device_name": name or platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
