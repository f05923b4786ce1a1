"""Base weights from a file: read safely, put into the form of the model, checked, then loaded.

Replaces open_clip's `load_checkpoint` for our models: the files that people have differ in more
ways than it knows, and what it says of them does not help.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from open_clip.convert import convert_state_dict, load_big_vision_weights
from open_clip.model import (
    CLIP,
    CustomTextCLIP,
    convert_to_custom_text_state_dict,
    resize_text_pos_embed,
)
from open_clip.timm_model import TimmModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from ..models.mmrl_clip import MMRLCLIP
from ..utils.text import listing

logger = logging.getLogger(__name__)

State = dict[str, Tensor]
Grid = tuple[int, int]

_WRAPPERS = ("state_dict", "model")  # keys below which checkpoints of trainings have the weights
_PREFIXES = ("module.", "_orig_mod.")  # of (Distributed)DataParallel and torch.compile
_OPENAI_BUFFERS = ("input_resolution", "context_length", "vocab_size")
_POSITIONS = "visual.positional_embedding"
_WIDTHS = {
    "visual.conv1.weight": ("image width", 0),
    "token_embedding.weight": ("text width", 1),
    "visual.proj": ("embedding width", 1),
}
_trained_grid: ContextVar[Grid | None] = ContextVar("trained_grid", default=None)


@contextmanager
def trained_on_grid(grid: Grid) -> Iterator[None]:
    """Within it, position embeddings in files are of rows x columns of patches like this.

    A file does not tell: 4 positions may be 2 x 2 or 4 x 1.
    """
    token = _trained_grid.set(grid)
    try:
        yield
    finally:
        _trained_grid.reset(token)


def load_checkpoint(
    model: MMRLCLIP,
    checkpoint_path: str,
    strict: bool = True,
    weights_only: bool = True,
    device: Any = "cpu",
) -> Any:
    """Load a checkpoint of the base, or of one of our whole models; as open_clip's of that name.

    Raises:
        ValueError: the file cannot be read, or is not of this model; the message names it.
    """
    if Path(checkpoint_path).suffix in (".npz", ".npy"):
        return _load_big_vision(model, checkpoint_path)
    assert isinstance(model, CLIP | CustomTextCLIP)  # ours are one or the other
    state = convert_state_dict(model, read_state_dict(checkpoint_path, weights_only, device))
    is_openai = [state.pop(name, None) for name in _OPENAI_BUFFERS] != [None] * 3
    if is_openai and not model.quick_gelu:
        logger.warning(
            "%s holds OpenAI's weights, which were trained with QuickGELU, but this model runs "
            "GELU: add -quickgelu to the model's name, or give force_quick_gelu=True.",
            checkpoint_path,
        )
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):  # scalars, or of shape [1]
        parameter = getattr(model, name, None)
        if name in state and parameter is not None and state[name].numel() == 1:
            state[name] = state[name].reshape(parameter.shape)
    if model.logit_bias is not None and "logit_bias" not in state and "logit_scale" in state:
        state["logit_bias"] = torch.zeros_like(state["logit_scale"])
    _check(model, state, checkpoint_path, strict)
    _resize_positions(model, state, checkpoint_path)
    resize_text_pos_embed(state, model)
    return model.load_state_dict(state, strict=strict)


def _load_big_vision(model: MMRLCLIP, path: str) -> Any:
    """Load weights as big_vision publishes them, by open_clip's own loader."""
    if not (isinstance(model, CustomTextCLIP) and isinstance(model.visual, TimmModel)):
        raise ValueError(
            f"{path} is a NumPy file, as big_vision publishes weights of SigLIP, which is another "
            f"model than this. {_REMEDY}"
        )
    try:
        load_big_vision_weights(model, path)
    except Exception:  # zip, NumPy and missing names raise errors of many types, with unsafe advice
        raise ValueError(
            f"{path} holds no weights of SigLIP as big_vision publishes them, or not of this size. "
            f"{_REMEDY}"
        ) from None
    return {}


def read_state_dict(path: str, weights_only: bool = True, device: Any = "cpu") -> State:
    """Return the tensors in a file, without the wrapping that trainings leave around them.

    Raises:
        ValueError: it cannot be read, or holds something else.
    """
    content = _read(path, weights_only, device)
    for _ in _WRAPPERS:
        inner = [
            content[key] for key in _WRAPPERS if isinstance(content, Mapping) and key in content
        ]
        content = inner[0] if inner and isinstance(inner[0], Mapping) else content
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} holds no state dict but {type(content).__name__!r}. {_REMEDY}")
    state = {str(name): value for name, value in content.items()}
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    other = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if other:
        raise ValueError(f"{path} holds more than tensors: {listing(other)}. {_REMEDY}")
    return state


_REMEDY = (
    "Give a plain state dict of this model, as torch.save(model.state_dict(), ...) or safetensors "
    "write it."
)


def _read(path: str, weights_only: bool, device: Any) -> Any:
    if Path(path).suffix == ".safetensors":
        try:
            return load_file(path, device=str(device))
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} cannot be read as a safetensors file ({error}).") from error
    if _is_torchscript(path):
        if not weights_only:
            return torch.jit.load(path, map_location=device).state_dict()
        raise ValueError(
            f"{path} is a TorchScript archive, as OpenAI publishes them: it holds code, and is "
            "opened with weights_only=False alone. Or save its weights once, and give that file: "
            "python -c \"import torch; torch.save(torch.jit.load('ARCHIVE', "
            "map_location='cpu').state_dict(), 'weights.pt')\"."
        )
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception:  # pickle, zip and torch raise errors of many types, with unsafe advice
        raise ValueError(
            f"the base weights {path} cannot be loaded: they are damaged, or hold other objects. "
            f"{_REMEDY}"
        ) from None


def _is_torchscript(path: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] == "constants.pkl" for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _check(model: MMRLCLIP, state: State, path: str, strict: bool) -> None:
    """Raise ValueError where the base's names or shapes differ; positions may be resized."""
    wanted = {k: v for k, v in model.state_dict().items() if not k.startswith("learner.")}
    for name, value in wanted.items():
        found = state.get(name)
        if found is not None and value.is_floating_point() and not found.is_floating_point():
            raise ValueError(f"{path} has {name} of type {found.dtype}; it has to be floating.")
        if found is not None and found.layout != torch.strided:
            raise ValueError(f"{path} has {name} as {found.layout}; it has to be dense.")
        if found is not None and not found.isfinite().all():
            raise ValueError(
                f"{path} holds numbers in {name} that are not finite: it is damaged, or its "
                "training diverged."
            )
        if found is None or found.shape == value.shape:
            continue
        what, axis = _WIDTHS.get(name.removeprefix("text."), ("", 0))
        if what and found.ndim == value.ndim and found.shape[axis] != value.shape[axis]:
            raise ValueError(
                f"{path} is of another model: this file holds {what} {found.shape[axis]}, the "
                f"model wants {value.shape[axis]}."
            )
        resizable = found.ndim == 2 == value.ndim and found.shape[1] == value.shape[1]
        if not name.endswith("positional_embedding") or not resizable:
            raise ValueError(
                f"{path} is of another model: its {name} is {tuple(found.shape)}, the model wants "
                f"{tuple(value.shape)}."
            )
    missing = [name for name in wanted if name not in state]
    extra = [n for n in state if n not in wanted and not n.startswith("learner.")]
    if strict and (missing or extra):
        raise ValueError(
            f"{path} is not a checkpoint of this model: {len(missing)} of {len(wanted)} tensors "
            f"are missing ({listing(missing, 4) or 'none'}), {len(extra)} are not known "
            f"({listing(extra, 4) or 'none'}). {_REMEDY}"
        )


def _resize_positions(model: MMRLCLIP, state: State, path: str) -> None:
    """Resize the grid of position embeddings to the model's, as open_clip does square ones."""
    stored = state.get(_POSITIONS)
    if stored is None:
        return
    rows, columns = model.visual.grid_size
    count, side = len(stored) - 1, int((len(stored) - 1) ** 0.5)
    old = _trained_grid.get()
    if old is None or old[0] * old[1] != count:
        old = (rows, columns) if count == rows * columns else (side, side)
    if old[0] * old[1] != count:
        raise ValueError(
            f"{path} has embeddings of {count} positions, which are no square: create the model "
            "without another image size."
        )
    if old == (rows, columns):
        return
    grid = stored[1:].float().reshape(1, *old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (rows, columns), mode="bicubic", antialias=True, align_corners=False)
    grid = grid.permute(0, 2, 3, 1).reshape(rows * columns, -1).to(stored.dtype)
    state[_POSITIONS] = torch.cat([stored[:1], grid])
