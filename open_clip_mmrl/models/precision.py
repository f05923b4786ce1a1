"""One code path for every precision, on the CPU and on CUDA.

    fp32                everything as the base is stored
    amp_bf16, amp_fp16  autocast, with the frozen weights of products kept in half meanwhile
    bf16, fp16          the frozen base kept and run in half; no autocast

In all of them what is trained, the optimizer's state, losses, logits and unit features are
float32: tokens are converted where they enter a tower. The tests run all of this on the CPU; on
CUDA it has not been run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from open_clip.transformer import LayerNormFp32
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import PRECISIONS
from ..errors import UsageError

_HALF = {
    "bf16": torch.bfloat16,
    "amp_bf16": torch.bfloat16,
    "fp16": torch.float16,
    "amp_fp16": torch.float16,
}
_PRODUCTS = ("in_proj_weight", "in_proj_bias", "text_projection")
"""Parameters that are multiplied with outside of linear layers and convolutions. Not the image
tower's `proj`: MMRL++ adds to it in float32, and it is read twice a step only."""


def half_type(precision: str) -> torch.dtype | None:
    """What the towers' products are computed in; None for "fp32", which leaves them alone."""
    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}; it has to be one of {PRECISIONS}.")
    return _HALF.get(precision)


def check_precision(precision: str, device: torch.device) -> None:
    """Whether a device can compute in a precision.

    Raises:
        UsageError: it cannot, or there is no such precision.
    """
    dtype = half_type(precision)
    if device.type == "cuda" and dtype == torch.bfloat16:
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            raise UsageError(
                f"{torch.cuda.get_device_name(device)} has no bf16 arithmetic: use amp_fp16 or "
                "fp32."
            )
    elif device.type == "cpu" and dtype == torch.float16:
        try:
            _try_kernels(dtype)
        except RuntimeError as error:
            raise UsageError(
                f"this PyTorch cannot compute in fp16 on this CPU ({error}): use "
                f"{precision.replace('fp16', 'bf16')} or fp32."
            ) from error


@cache
def _try_kernels(dtype: torch.dtype) -> None:
    """The towers' kernels on a few numbers, forward and backward; once where they work."""
    with torch.enable_grad():
        pixels = torch.zeros(1, 8, 2, 2, dtype=dtype, requires_grad=True)
        weight = torch.zeros(8, 8, dtype=dtype)
        x = F.conv2d(pixels, weight[:, :, None, None]).flatten(2)
        x = F.gelu(F.linear(F.layer_norm(x.mT, (8,), weight[0], weight[0]), weight))[None]
        F.scaled_dot_product_attention(x, x, x).sum().backward()


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which the towers run; of effect with the "amp_" precisions alone."""
    check_precision(precision, device)
    mixed = precision.startswith("amp_")
    return torch.autocast(device.type, dtype=_HALF[precision] if mixed else None, enabled=mixed)


@contextmanager
def half_weights(model: nn.Module, precision: str) -> Iterator[None]:
    """Keep a model's frozen weights in half while training or scoring; put them back behind it.

    Autocast converts a frozen weight at every use, for it remembers only what requires gradients.
    With "amp_" the weights it would convert are converted here, once: the results are the same to
    the bit. With "bf16" and "fp16" the whole base is, but for single numbers (the logit scale)
    and norms that compute in float32 by themselves. `learner` is never touched, nor is float64
    with "amp_", as in autocast.

    The very tensors of before come back at the end, whatever happens: a base's digest, what is
    saved and what shares the weights notice nothing. Until then both are in memory, and whatever
    shares the weights (`MMRLCLIP.sibling`) sees them in half.

    Raises:
        UsageError: the device cannot compute in this precision.
    """
    dtype = half_type(precision)
    kept: list[tuple[nn.Parameter, Tensor]] = []
    try:
        if dtype is not None:
            check_precision(precision, model.visual.proj.device)
            for parameter in _converted(model, precision):
                kept.append((parameter, parameter.data))
                parameter.data = parameter.data.to(dtype)
        yield
    finally:
        for parameter, data in reversed(kept):  # a tied one is in there twice
            parameter.data = data


def _converted(model: nn.Module, precision: str) -> list[nn.Parameter]:
    """The frozen parameters that are kept in half."""
    trained, mixed = {*model.learner.modules()}, precision.startswith("amp_")
    found = []
    for module in model.modules():
        if module in trained:
            continue
        multiplies = isinstance(module, nn.Linear | nn.Conv2d)
        for name, parameter in module.named_parameters(recurse=False):
            if mixed:
                wanted = (multiplies or name in _PRODUCTS) and parameter.dtype != torch.float64
            else:
                wanted = parameter.ndim > 0 and not isinstance(module, LayerNormFp32)
            if wanted:
                found.append(parameter)
    return found


def gradient_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Loss scaling for fp16, whose small gradients would vanish; without effect otherwise."""
    return torch.amp.GradScaler(device.type, enabled=half_type(precision) == torch.float16)
