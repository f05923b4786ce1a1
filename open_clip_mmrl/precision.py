"""One code path for every precision: an autocast context and, for half, a gradient scaler."""

from __future__ import annotations

import torch

from .config import PRECISIONS
from .errors import UsageError

_DTYPES = {"amp_bf16": torch.bfloat16, "amp_fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which the towers run; without effect for "fp32"."""
    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}; it has to be one of {PRECISIONS}.")
    if (
        precision == "amp_bf16"
        and device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise UsageError(
            f"{torch.cuda.get_device_name(device)} has no bf16 arithmetic: use amp_fp16 or fp32."
        )
    return torch.autocast(device.type, dtype=_DTYPES.get(precision), enabled=precision in _DTYPES)


def gradient_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Loss scaling for fp16, whose small gradients would vanish; without effect otherwise."""
    return torch.amp.GradScaler(device.type, enabled=precision == "amp_fp16")


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device asked for; CUDA where there is one when nothing or "auto" was asked."""
    if device in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"device is {device!r}; give cpu, cuda or cuda:N.") from error
    count = torch.cuda.device_count()
    if chosen.type == "cuda" and not count:
        raise UsageError(f"device is '{chosen}', but PyTorch finds no CUDA device here; use cpu.")
    if chosen.type == "cuda" and (chosen.index or 0) >= count:
        raise UsageError(
            f"device is '{chosen}', but there are {count} CUDA devices: 0 .. {count - 1}."
        )
    return chosen
