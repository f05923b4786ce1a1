"""Every precision in one code path, on the CPU and on CUDA.

    fp32                everything as the base is stored
    amp_bf16, amp_fp16  autocast; the frozen weights of products are kept in half meanwhile
    bf16, fp16          the frozen base is kept and run in half; no autocast

In all of them what is trained, the optimizer's state, losses, logits and unit features are
float32: tokens are converted where they enter a tower. The tests run all of this on the CPU; on
CUDA it has not been run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, cast

import torch
from open_clip.transformer import LayerNormFp32
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import PRECISIONS
from ..errors import UsageError

if TYPE_CHECKING:
    from .mmrl_clip import MMRLCLIP

_HALF = {
    "bf16": torch.bfloat16,
    "amp_bf16": torch.bfloat16,
    "fp16": torch.float16,
    "amp_fp16": torch.float16,
}
_PRODUCTS = ("in_proj_weight", "in_proj_bias", "text_projection")
"""Parameters of products outside of linear layers and convolutions. Not the image tower's `proj`:
MMRL++ adds to it in float32, and it is only read twice per step."""


def half_type(precision: str) -> torch.dtype | None:
    """Return the type of the towers' products; None for "fp32", which changes nothing."""
    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}; it has to be one of {PRECISIONS}.")
    return _HALF.get(precision)


def check_precision(precision: str, device: torch.device) -> None:
    """Check that a device can compute in a precision.

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
    """Run the towers' kernels on a few numbers, forward and backward; only once if they work."""
    with torch.enable_grad():
        pixels = torch.zeros(1, 8, 2, 2, dtype=dtype, requires_grad=True)
        weight = torch.zeros(8, 8, dtype=dtype)
        x = F.conv2d(pixels, weight[:, :, None, None]).flatten(2)
        x = F.gelu(F.linear(F.layer_norm(x.mT, (8,), weight[0], weight[0]), weight))[None]
        F.scaled_dot_product_attention(x, x, x).sum().backward()


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which the towers run; without effect unless "amp_"."""
    check_precision(precision, device)
    mixed = precision.startswith("amp_")
    return torch.autocast(device.type, dtype=_HALF[precision] if mixed else None, enabled=mixed)


def in_half(model: MMRLCLIP, precision: str) -> MMRLCLIP:
    """Return the same model as it trains and scores in a precision: frozen weights in half.

    The model given is only read, so it may be used meanwhile, in other threads too, and so may
    others on its weights. For "fp32" it is returned itself; otherwise one with `own_modules`,
    with converted copies of the weights that run in half. They live as long as it does.

    Autocast converts a frozen weight at every use, because it caches only what requires gradients.
    With "amp_" the weights it would convert are converted here, once: the results are the same to
    the bit. With "bf16" and "fp16" the whole base is converted, except the logits' scale and bias
    and norms that compute in float32 by themselves. `learner` never changes, nor does float64
    with "amp_", as in autocast.

    Raises:
        UsageError: the device cannot compute in this precision.
    """
    dtype, copies = half_type(precision), dict[int, Tensor]()
    if dtype is None:
        return model
    check_precision(precision, model.device)
    for tensor in _converted(model, precision):
        if id(tensor) not in copies:  # a tied one is found twice
            converted = tensor.detach().to(dtype)
            is_parameter = isinstance(tensor, nn.Parameter)
            copies[id(tensor)] = nn.Parameter(converted, False) if is_parameter else converted
    return own_modules(model, copies)


def own_modules(model: MMRLCLIP, copies: Mapping[int, Tensor] | None = None) -> MMRLCLIP:
    """Return the same model with modules of its own, on the same tensors and the same `learner`.

    Its `train()` and `eval()` reach no other model on these weights.

    Args:
        model: is not changed.
        copies: what replaces some of its parameters and buffers, by their ids.
    """
    made: dict[int, nn.Module] = {id(model.learner): model.learner}
    return cast("MMRLCLIP", _own_modules(model, copies or {}, made))


def _own_modules(
    module: nn.Module, copies: Mapping[int, Tensor], made: dict[int, nn.Module]
) -> nn.Module:
    if id(module) in made:
        return made[id(module)]
    own = made[id(module)] = module.__new__(type(module))
    # torch's registries are dicts; copies, so that what is added to one is not in the other.
    state = {k: v.copy() if isinstance(v, dict) else v for k, v in vars(module).items()}
    for registry in ("_parameters", "_buffers"):
        state[registry] = {k: copies.get(id(t), t) for k, t in state[registry].items()}
    vars(own).update(state)
    for name, child in module._modules.items():
        own._modules[name] = None if child is None else _own_modules(child, copies, made)
    return own


def _converted(model: MMRLCLIP, precision: str) -> list[Tensor]:
    """Find what is frozen and kept in half: parameters, and buffers that are used with them.

    Batch norms and EVA's attention have such buffers. Rotations are buffers alone, and stay.
    """
    trained, mixed = {*model.learner.modules()}, precision.startswith("amp_")
    found = []
    for module in model.modules():
        if module in trained:
            continue
        multiplies = isinstance(module, nn.Linear | nn.Conv2d)
        own = dict(module.named_parameters(recurse=False))
        if own and not mixed:
            own |= dict(module.named_buffers(recurse=False))
        for name, tensor in own.items():
            if mixed:
                wanted = (multiplies or name in _PRODUCTS) and tensor.dtype != torch.float64
            else:
                is_scale = module is model and name in ("logit_scale", "logit_bias")
                wanted = not is_scale and not isinstance(module, LayerNormFp32)
            if wanted and tensor.is_floating_point():
                found.append(tensor)
    return found


def gradient_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Return a loss scaler for fp16, whose small gradients would vanish; else it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=half_type(precision) == torch.float16)
