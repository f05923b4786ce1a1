"""What a run was carried out with and on, for the record."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch


def environment(device: torch.device, precision: str) -> dict[str, Any]:
    """Versions, device and precision, for the record."""
    packages = ("open_clip_mmrl", "open_clip_torch", "torch", "torchvision", "timm")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in packages},
        "device": device.type,
        "device_name": name or platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree
        return "not installed"
