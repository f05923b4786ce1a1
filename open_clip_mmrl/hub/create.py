"""Creating a model under one of our names: what open_clip's `create_model` cannot see by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import open_clip
from open_clip import pretrained as tags
from torch import nn

from ..config import MMRLConfig
from ..errors import UsageError
from ..models.mmrl_clip import MMRLCLIP, as_config
from .adapter_file import FREE_FIELDS, is_adapter, load_adapter, read_adapter_info, read_metadata
from .names import ModelName


def create(
    original: Callable[..., nn.Module],
    name: ModelName,
    registered: Mapping[str, Any],
    source: str | Path | None,
    kwargs: dict[str, Any],
) -> MMRLCLIP:
    """Create the model `name` from a tag, a base checkpoint or an adapter file.

    Args:
        original: open_clip's own `create_model`.
        registered: the method's settings registered under the name.
        source: what the caller gave as `pretrained`.
        kwargs: everything else the caller gave, and ours: `mmrl_cfg` (a config, or fields over
            the registered ones) and `base_pretrained` (base weights for an adapter).
    """
    override = _override(kwargs.pop("mmrl_cfg", None), name)
    base_pretrained = kwargs.pop("base_pretrained", None)
    source = None if source is None else str(source)
    if source and Path(source).suffix == ".safetensors" and Path(source).is_file():
        read_metadata(source)  # a damaged file is named here, not deep inside open_clip
    if not is_adapter(source):
        if base_pretrained:
            raise UsageError("base_pretrained goes with an adapter file as pretrained=.")
        if source and tags.get_pretrained_cfg(str(name), source).get("quick_gelu"):
            kwargs["force_quick_gelu"] = True
        settings = as_config({**registered, **override})
        return _build(original, name, source, settings, kwargs)
    info = read_adapter_info(source)
    settings = _adapter_settings(source, info, name, override)
    weights = str(base_pretrained or _find_base(source, info))
    _as_in_training(info["base"], registered_size(name), kwargs)
    model = _build(original, name, weights, settings, kwargs)
    if kwargs.get("load_weights", True):
        load_adapter(model, source, {k: v for k, v in override.items() if k in FREE_FIELDS})
    return model


def _build(original, name: ModelName, source: str | None, settings: MMRLConfig, kwargs) -> MMRLCLIP:
    """Through open_clip, and note where the base came from, for the adapter to say."""
    model = original(str(name), source, mmrl_cfg=settings.to_dict(), **kwargs)
    is_file = source is not None and not tags.is_pretrained_cfg(str(name), source)
    origin = str(Path(source).resolve()) if is_file else source
    model.base_origin = {"model": name.base, "pretrained": origin}
    return model


def _override(given: Any, name: ModelName) -> dict[str, Any]:
    """`mmrl_cfg` as a dict of the fields that differ from those registered under the name."""
    if given is None:
        return {}
    if isinstance(given, MMRLConfig):
        # A whole config has a variant whether its writer thought of it or not.
        if given.variant != name.variant:
            raise UsageError(
                f"mmrl_cfg is an MMRLConfig of {given.variant!r}, but {str(name)!r} is {name.variant}: ask "
                "for the other name, or give a dict of the fields that differ."
            )
        return given.to_dict()
    if not isinstance(given, Mapping):
        raise UsageError(f"mmrl_cfg is {given!r}; give an MMRLConfig or a dict of its fields.")
    if given.get("variant", name.variant) != name.variant:
        return {"beta": None, **given}  # the other variant's default
    return dict(given)


def registered_size(name: ModelName) -> dict[str, Any]:
    """Input sizes of the config registered under a name: image_size [H, W], context_length."""
    config = open_clip.get_model_config(str(name))
    size = config["vision_cfg"].get("image_size", 224)
    return {
        "image_size": list(size) if isinstance(size, list | tuple) else [size, size],
        "context_length": config["text_cfg"].get("context_length", 77),
    }


def _as_in_training(base: Mapping[str, Any], size: Mapping[str, Any], kwargs) -> None:
    """The base runs as it did when the adapter was trained, where the caller does not choose."""
    kwargs["force_quick_gelu"] = base["quick_gelu"]
    if kwargs.get("force_image_size") is None and base["image_size"] != size["image_size"]:
        kwargs["force_image_size"] = tuple(base["image_size"])
    length = base["context_length"]
    if kwargs.get("force_context_length") is None and length != size["context_length"]:
        kwargs["force_context_length"] = length
    stored = {k: v for k, v in (base["preprocess"] or {}).items() if k != "size"}
    kwargs["force_preprocess_cfg"] = {**stored, **(kwargs.get("force_preprocess_cfg") or {})}


def _adapter_settings(
    path: str, info: Mapping[str, Any], name: ModelName, override: Mapping[str, Any]
) -> MMRLConfig:
    """The adapter's own config, with what may be chosen again from `override`."""
    stored = info["config"]
    trained_on = info["base"]["model"]
    right = str(ModelName(trained_on or name.base, stored["variant"]))
    if stored["variant"] != name.variant:
        raise ValueError(f"{path} holds {stored['variant']}, not {name.variant}: create {right!r}.")
    if trained_on not in (None, name.base):
        raise ValueError(
            f"{path} belongs to the base {trained_on}, not {name.base}: create {right!r}."
        )
    for key, value in override.items():
        if key not in FREE_FIELDS and stored.get(key) != value:
            raise ValueError(
                f"{path} was trained with {key}={stored.get(key)!r}; mmrl_cfg cannot make it "
                f"{value!r}. With an adapter it can set {', '.join(FREE_FIELDS)}."
            )
    return as_config({**stored, **override})


def _find_base(adapter: str, info: Mapping[str, Any]) -> str:
    """The base weights an adapter names: a tag, a file, or a file that moved along with it."""
    source = info["base"]["pretrained"]
    if source is None:
        raise ValueError(
            f"{adapter} does not say which base weights it was trained on: give their tag or "
            "file with base_pretrained=... (on the command line: --pretrained)."
        )
    if tags.is_pretrained_cfg(info["base"]["model"] or "", source):
        return source
    for path in (Path(source), Path(adapter).parent / Path(source).name):
        if path.is_file():
            return str(path)
    raise ValueError(
        f"{adapter} was trained on the base weights {source}, which are neither a tag nor a file "
        "here: give their place with base_pretrained=... (on the command line: --pretrained)."
    )
