"""The base of this process's last run, whose weights the next run on it does not read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..hub.load import LoadedModel, build_for_training, resolve_name, sibling_for_training

_kept: dict[tuple[str, str, torch.device], LoadedModel] = {}
"""At most one, by name, weights and device."""


def build_on_kept_base(
    model: str,
    pretrained: str,
    *,
    method: str | None,
    settings: Mapping[str, Any],
    device: torch.device,
    seed: int,
) -> LoadedModel:
    """Do as `build_for_training`, on the base of the last call where it is the same."""
    key = (resolve_name(model, method).base, pretrained, device)
    if key not in _kept:
        forget_base()  # before there are two
        _kept[key] = build_for_training(model, pretrained, method=method, device=device, seed=seed)
    return sibling_for_training(_kept[key], model, method=method, settings=settings, seed=seed)


def forget_base() -> None:
    """Give the memory back."""
    _kept.clear()
