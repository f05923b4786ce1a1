"""How fast a device multiplies matrices: the measure that other speeds are told in."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch.nn import functional as F

from .precision import half_type

_ROWS = 2048


@torch.no_grad()
def matrix_product_rate(
    device: torch.device, precision: str = "fp32", size: int = 768, repeats: int = 5
) -> float:
    """Operations per second of a product that towers are made of, in the type of a precision.

    A linear layer from `size` to 4 * `size` over 2048 rows, all of it in float32 or in half;
    multiplications and additions apart. The median of some, behind one to wake the device up.
    """
    dtype = half_type(precision) or torch.float32
    x = torch.randn(_ROWS, size, device=device, dtype=dtype)
    weight = torch.randn(4 * size, size, device=device, dtype=dtype)
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        F.linear(x, weight)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return 2 * _ROWS * size * 4 * size / median(taken[1:])
