"""Adapter files: the trained parameters, and nothing of the base, in one safetensors file.

The file's metadata holds one JSON text under the key `open_clip_mmrl`; see `adapter_info`.
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
from .adapter_info import AdapterInfo
from .base_check import check_base, describe_base
from .names import ModelName

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
    """Write the learner, and all that is needed to use it again, to one file.

    Args:
        model: the trained model.
        path: the file to write, atomically; usually `adapter.safetensors`.
        class_names: the classes seen in training.
        template: their prompt, with {} for the class name.
        base_model: open_clip's name of the base; by default the one `open_clip.create_model`
            made this model from.
        base_pretrained: tag or checkpoint of the base weights, with the same default.
        settings: how it was trained, for the record; anything JSON can hold.
        scores: how well it did, for the record; anything JSON can hold.

    Returns:
        The path written.

    Raises:
        ValueError: `class_names` is one text, or JSON cannot hold `settings` or `scores`.

    Example:
        >>> import open_clip, open_clip_mmrl
        >>> model = open_clip.create_model("mmrl-ViT-Ti-8-glyphs", pretrained="printed")
        >>> path = open_clip_mmrl.save_adapter(model, "x.safetensors", class_names=["cat", "dog"])
        >>> open_clip_mmrl.read_adapter_info(path)["class_names"]
        ['cat', 'dog']
    """
    if isinstance(class_names, str):
        raise ValueError(f"class_names is the text {class_names!r}; give a list of names.")
    origin = model.base_origin or {}
    name = base_model or origin.get("model")
    info = AdapterInfo(
        path=path,
        config=model.config,
        base=describe_base(
            model,
            name=ModelName.parse(name).base if name else None,
            pretrained=base_pretrained or origin.get("pretrained"),
        ),
        class_names=list(class_names),
        template=template,
        settings=dict(settings or {}),
        scores=dict(scores or {}),
    )
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.learner.state_dict().items()}
    try:
        text = json.dumps(info.to_dict(), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"settings or scores hold what JSON cannot ({error}): {settings!r}, {scores!r}."
        ) from error
    write_atomically(path, save_tensors(tensors, metadata={HEADER: text}))
    return Path(path)


def read_adapter_info(path: str | Path) -> dict[str, Any]:
    """Return the header of an adapter file as a dict, without reading its tensors.

    Args:
        path: the adapter file.

    Returns:
        `format_version`, `config` (fields of MMRLConfig), `base` (name, tag and fingerprint),
        `class_names`, `template`, `settings` and `scores`.

    Raises:
        UsageError: there is no such file.
        ValueError: it is damaged, not an adapter, or of another format version.

    Example:
        >>> import open_clip, open_clip_mmrl
        >>> model = open_clip.create_model("mmrl-ViT-Ti-8-glyphs", pretrained="printed")
        >>> path = open_clip_mmrl.save_adapter(model, "x.safetensors")
        >>> info = open_clip_mmrl.read_adapter_info(path)
        >>> info["base"]["model"], info["config"]["variant"]
        ('ViT-Ti-8-glyphs', 'mmrl')
    """
    return read_adapter(path).to_dict()


def read_adapter(path: str | Path | AdapterInfo) -> AdapterInfo:
    """Return the header of an adapter file, read and checked; a header as it is."""
    if isinstance(path, AdapterInfo):
        return path
    header = _read_metadata(path).get(HEADER)
    if header is None:
        raise ValueError(
            f"{path} is a safetensors file, but not an adapter: its header has no {HEADER!r}. "
            "Give a file written by save_adapter."
        )
    return AdapterInfo.parse(path, header)


def find_adapter(source: object) -> AdapterInfo | None:
    """Return the header where `source` is an adapter, None where it is a tag or a base checkpoint.

    Raises:
        ValueError: an adapter that cannot be used, or a damaged .safetensors file.
    """
    if isinstance(source, AdapterInfo):
        return source
    if not isinstance(source, str | Path) or not Path(source).is_file():
        return None
    try:
        header = _read_metadata(source).get(HEADER)
    except ValueError:
        if Path(source).suffix == ".safetensors":
            raise  # rather than let open_clip fail on it with less detail
        return None
    return None if header is None else AdapterInfo.parse(source, header)


def is_adapter(path: object) -> bool:
    """Return whether this is the path of an existing safetensors file with an adapter's header."""
    try:
        return isinstance(path, str | Path) and HEADER in _read_metadata(path)
    except ValueError:
        return False


def _read_metadata(path: str | Path) -> dict[str, str]:
    """Return the texts in a safetensors file's header."""
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
    """Load an adapter into a model on the same base.

    The model takes over the adapter's alpha, beta and reg_weight.

    Args:
        model: a model on the base of the training, with a config of the same shape.
        path: the adapter file.
        settings: other values of alpha, beta and reg_weight (MMRL++'s beta is chosen per target).

    Returns:
        The adapter's header, as `read_adapter_info` returns it.

    Raises:
        ValueError: the file is damaged, the base is another one (other widths, depths, weights or
            activation) or the config's shape differs; the model is unchanged then.

    Example:
        >>> import open_clip, open_clip_mmrl
        >>> name, tag = "mmrl-ViT-Ti-8-glyphs", "printed"
        >>> trained, model = (open_clip.create_model(name, tag) for _ in range(2))
        >>> path = open_clip_mmrl.save_adapter(trained, "x.safetensors")
        >>> info = open_clip_mmrl.load_adapter(model, path, {"alpha": 0.5})
        >>> info["config"]["alpha"], model.config.alpha
        (0.7, 0.5)
    """
    info = read_adapter(path)
    apply_adapter(model, info, settings)
    return info.to_dict()


def apply_adapter(
    model: MMRLCLIP, info: AdapterInfo, settings: Mapping[str, Any] | None = None
) -> None:
    """Check the model against an adapter's header, then load the tensors; see `load_adapter`."""
    check_base(model, info.base, info.path)
    for name, value in info.config.to_dict().items():
        ours = getattr(model.config, name)
        if name not in FREE_FIELDS and ours != value:
            raise ValueError(
                f"{info.path} was trained with {name}={value!r}, this model has {ours!r}. Create "
                "the model with pretrained=<the adapter file>, which sets all of this."
            )
    with safe_open(info.path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    for name in settings or {}:
        if name not in FREE_FIELDS:
            raise UsageError(f"settings has {name!r}; with an adapter it may set {FREE_FIELDS}.")
    free = {name: getattr(info.config, name) for name in FREE_FIELDS}
    config = MMRLConfig.from_dict({**model.config.to_dict(), **free, **(settings or {})})
    load_learner(model, tensors, info.path)
    model.config = config


def load_learner(model: MMRLCLIP, tensors: Mapping[str, Tensor], source: object) -> None:
    """Load the learner's parameters, all of them, checked before anything is changed."""
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
