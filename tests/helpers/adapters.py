"""An adapter on the shipped tiny CLIP that was never trained: its tokens are shaken."""

from __future__ import annotations

from pathlib import Path

import torch

from open_clip_mmrl import save_adapter
from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.hub.adapter_info import Calibration
from open_clip_mmrl.hub.load import build_for_training


def write_adapter(
    path: Path,
    class_names: list[str],
    template: str = "a photo of a {}.",
    calibration: Calibration | None = None,
) -> Path:
    """Write an adapter file for the classes, and return its path."""
    cpu = torch.device("cpu")
    settings = {"rep_dim": 8, "alpha": 0.6}
    loaded = build_for_training(MODEL_NAME, None, settings=settings, device=cpu, seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in loaded.model.learner.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return save_adapter(
        loaded.model, path, class_names=class_names, template=template, calibration=calibration
    )
