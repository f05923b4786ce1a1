"""Adapter files: everything trained, nothing of the base, in one safetensors file.

The header carries one JSON text under the key `open_clip_mmrl`: format version, the method's
config, what base it belongs to, class names, template, settings and scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from ..config import MMRLConfig
from ..errors import UsageError
from ..models.mmrl_clip import MMRLCLIP
from ..utils.files import write_atomically
from .base_check import check_base, describe_base
from .names import ModelName

FORMAT_VERSION = 1
HEADER = "open_clip_mmrl"
# These may be chosen again when an adapter is used; everything else is part of its shape.
FREE_FIELDS = ("alpha", "beta", "reg_weight")


def save_adapter(
    model: MMRLCLIP,
    path: str | Path,
    *,
    class_names: Sequence[str] = (),
    template: str = "",
    base_model: str | None = None,
    base_pretrained: str | None = None,
    settings: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
) -> Path:
    """Write the learner and all that is needed to use it again.

    Args:
        model: the trained model.
        path: the file to write, atomically; by custom `adapter.safetensors`.
        class_names: the classes seen in training.
        template: their prompt, with {} for the class name.
        base_model, base_pretrained: open_clip's names of the base; by default what
            `open_clip.create_model` was given, when it made this model.
        settings, scores: anything JSON can hold, for the record.
    """
    if isinstance(class_names, str):
        raise ValueError(f"class_names is the text {class_names!r}; give a list of names.")
    origin = getattr(model, "base_origin", None) or {}
    name = base_model or origin.get("model")
    header = {
        "format_version": FORMAT_VERSION,
        "config": model.config.to_dict(),
        "base": {
            "model": ModelName.parse(name).base if name else None,
            "pretrained": base_pretrained or origin.get("pretrained"),
            **describe_base(model),
        },
        "class_names": list(class_names),
        "template": template,
        "settings": dict(settings or {}),
        "scores": dict(scores or {}),
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.learner.state_dict().items()}
    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"settings or scores hold what JSON cannot ({error}): {settings!r}, {scores!r}."
        ) from error
    write_atomically(path, save_tensors(tensors, metadata={HEADER: text}))
    return Path(path)


def read_adapter_info(path: str | Path) -> dict[str, Any]:
    """The header of an adapter file as a dict, without reading its tensors."""
    header = read_metadata(path).get(HEADER)
    if header is None:
        raise ValueError(
            f"{path} is a safetensors file, but not an adapter: its header has no {HEADER!r}. "
            "Give a file written by save_adapter."
        )
    try:
        info = json.loads(header)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} has a header that is no JSON ({error}): train again.") from error
    if not isinstance(info, dict):
        raise ValueError(f"{path} has a header that is no JSON object: train again.")
    if info.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has adapter format {info.get('format_version')}, this version of "
            f"open_clip_mmrl reads {FORMAT_VERSION}: install the version that wrote it or newer."
        )
    missing = [key for key in ("config", "base", "class_names", "template") if key not in info]
    if missing:
        raise ValueError(f"{path} has a header without {', '.join(missing)}: train again.")
    if not isinstance(info["config"], dict):
        raise ValueError(f"{path} has a header whose config is no JSON object: train again.")
    # Settings that have come since an older version wrote it: it was the full method.
    info["config"] = {**MMRLConfig().to_dict(), **info["config"]}
    return info


def is_adapter(path: object) -> bool:
    """Whether this is the path of an existing safetensors file with an adapter's header."""
    try:
        return isinstance(path, str | Path) and HEADER in read_metadata(path)
    except ValueError:
        return False


def read_metadata(path: str | Path) -> dict[str, str]:
    """The texts in a safetensors file's header; ValueError where it is missing or damaged."""
    if not Path(path).is_file():
        raise UsageError(f"There is no adapter file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as a safetensors file ({error}): it is truncated, damaged or "
            "of another kind. Copy it again, or train again."
        ) from error


def load_adapter(
    model: MMRLCLIP, path: str | Path, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Load an adapter into a model on the same base, strictly; returns its header.

    The model takes over the adapter's alpha, beta and reg_weight; `settings` may choose them
    again (MMRL++'s beta is chosen per target).

    ValueError, and the model untouched, when the file is damaged, the base is another one
    (other widths, depths, weights or activation) or the config's shape differs.
    """
    info = read_adapter_info(path)
    check_base(model, info["base"], path)
    stored = MMRLConfig.from_dict(info["config"])
    for name, value in stored.to_dict().items():
        ours = getattr(model.config, name)
        if name not in FREE_FIELDS and ours != value:
            raise ValueError(
                f"{path} was trained with {name}={value!r}, this model has {ours!r}. Create the "
                "model with pretrained=<the adapter file>, which sets all of this."
            )
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name in settings or {}:
        if name not in FREE_FIELDS:
            raise UsageError(f"settings has {name!r}; with an adapter it may set {FREE_FIELDS}.")
    free = {name: getattr(stored, name) for name in FREE_FIELDS}
    config = MMRLConfig.from_dict({**model.config.to_dict(), **free, **(settings or {})})
    load_learner(model, tensors, path)
    model.config = config
    return info


def load_learner(model: MMRLCLIP, tensors: Mapping[str, Tensor], source: object) -> None:
    """Strict, and checked as a whole before anything is changed."""
    wanted = model.learner.state_dict()
    missing, extra = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    if missing or extra:
        raise ValueError(f"{source} does not fit: missing {missing}, not known {extra}.")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise ValueError(
                f"{source} does not fit: {name} is {tuple(tensor.shape)}, this model has "
                f"{tuple(wanted[name].shape)}."
            )
    layer, ours = int(tensors["start_layer"]), int(wanted["start_layer"])
    if layer != ours:
        raise ValueError(
            f"{source} does not fit: its tokens begin at layer {layer}, this model's at {ours}."
        )
    model.learner.load_state_dict(tensors)
