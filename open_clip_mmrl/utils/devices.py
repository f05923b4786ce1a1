"""The device that a user names; what not every device has."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from ..errors import UsageError


def pick_device(device: str | torch.device | None) -> torch.device:
    """Return the named device; for None or "auto" CUDA if there is any, else the CPU.

    Raises:
        UsageError: no such device, or PyTorch does not find it here.
    """
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"device is {device!r}; give cpu, cuda or cuda:N.") from error
    if chosen.type == "meta":  # tensors without values
        raise UsageError(f"device is {str(device)!r}; give cpu, cuda or cuda:N.")
    count = torch.cuda.device_count()
    if chosen.type == "cuda" and not count:
        raise UsageError(f"device is '{chosen}', but PyTorch finds no CUDA device here; use cpu.")
    if chosen.type == "cuda" and (chosen.index or 0) >= count:
        raise UsageError(
            f"device is '{chosen}', but there are {count} CUDA devices: 0 .. {count - 1}."
        )
    return chosen


def without_autocast(device: torch.device) -> torch.autocast | nullcontext[None]:
    """Return a context without autocast, on the meta device too, which has none."""
    if device.type == "meta":
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
