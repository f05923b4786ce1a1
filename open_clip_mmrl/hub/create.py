"""Create a model under one of our names: what open_clip's `create_model` does not do by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from open_clip import pretrained as tags
from open_clip.model import CLIPVisionCfg
from torch import nn

from ..config import FREE_FIELDS, MMRLConfig
from ..errors import UsageError
from ..models.base_config import has_text_tokens
from ..models.mmrl_clip import MMRLCLIP
from ..utils.files import is_file
from .adapter_file import apply_adapter
from .adapter_header import MAX_SIDE
from .adapter_info import AdapterInfo, BaseInfo
from .adapter_reading import find_adapter
from .base_check import check_shape, registered_shape
from .base_place import base_config
from .base_weights import trained_on_grid
from .hub_repository import require_weights
from .names import ModelName, is_place


def create(
    original: Callable[..., nn.Module],
    name: ModelName,
    registered: Mapping[str, Any],
    source: str | Path | AdapterInfo | None,
    kwargs: dict[str, Any],
) -> MMRLCLIP:
    """Create a model from a tag, a base checkpoint or an adapter file.

    Args:
        original: open_clip's own `create_model`.
        name: the model's name, with a variant.
        registered: the method's config registered under the name.
        source: what the caller gave as `pretrained`.
        kwargs: everything else the caller gave, and ours: `mmrl_cfg` (a config, or fields over
            the registered ones) and `base_pretrained` (base weights for an adapter).
    """
    if kwargs.get("jit"):
        raise UsageError(
            f"jit=True: {str(name)!r} cannot be scripted, because of its tokens; leave jit out."
        )
    override = override_of(kwargs.pop("mmrl_cfg", None), name)
    base_pretrained = kwargs.pop("base_pretrained", None)
    if name.is_place and source == name.base:  # its own weights
        source = None
    adapter = find_adapter(source)
    if adapter is None:
        if base_pretrained:
            raise UsageError("base_pretrained goes with an adapter file as pretrained=.")
        weights = None if source is None else str(source)
        if name.is_place and weights:
            raise UsageError(
                f"pretrained is {weights!r}, but {name.base} brings its own weights: leave "
                "pretrained out, or give an adapter file."
            )
        if weights and tags.get_pretrained_cfg(str(name), weights).get("quick_gelu"):
            kwargs["force_quick_gelu"] = True
        config = MMRLConfig.from_dict({**registered, **override})
        return _build(original, name, weights, config, kwargs)
    config = _adapter_config(adapter, name, override)
    known = base_config(name, kwargs.get("cache_dir")) or {}
    check_shape(registered_shape(known), adapter.base, adapter.path)
    weights = str(base_pretrained or find_base(adapter))
    kwargs = as_in_training(adapter.base, name, kwargs)
    model = _build(original, name, weights, config, kwargs)
    if kwargs.get("load_weights", True):
        apply_adapter(model, adapter, {k: v for k, v in override.items() if k in FREE_FIELDS})
    return model


def _build(
    original: Callable[..., nn.Module],
    name: ModelName,
    weights: str | None,
    config: MMRLConfig,
    kwargs: Mapping[str, Any],
) -> MMRLCLIP:
    """Build the model through open_clip, and note where its base came from, for its adapter."""
    base = base_config(name, kwargs.get("cache_dir")) or {}
    vision = base.get("vision_cfg", {})
    patch = _pair(vision.get("patch_size", CLIPVisionCfg.patch_size))
    size = _registered_size(vision)
    known: Any = tags.get_pretrained_cfg(str(name), weights) if weights else {}
    if known.get("hf_hub") and "file" not in known:
        require_weights(known["hf_hub"], cache_dir=kwargs.get("cache_dir"))
    given = _checked_size(kwargs.get("force_image_size"), size)
    if not vision.get("timm_model_name") and (given[0] < patch[0] or given[1] < patch[1]):
        raise UsageError(
            f"images of {given[0]} x {given[1]} pixels hold no patch of {patch[0]} x {patch[1]}, "
            f"which {name.base} is made of: give a larger force_image_size."
        )
    with trained_on_grid((size[0] // patch[0], size[1] // patch[1])):
        try:
            if name.is_place:
                model = _from_place(original, name.base, config, kwargs)
            else:
                model = original(str(name), weights, mmrl_cfg=config.to_dict(), **kwargs)
        except RuntimeError as error:
            if given[0] >= size[0] and given[1] >= size[1]:
                raise
            raise UsageError(
                f"{name.base} cannot be made for images of {given[0]} x {given[1]} pixels; it is "
                f"registered with {size[0]} x {size[1]}. Give a larger force_image_size ({error})."
            ) from error
    if not isinstance(model, MMRLCLIP):
        raise ValueError(
            f"open_clip made a {type(model).__name__} of {str(name)!r}, which has no "
            f"representation tokens: {name.base} is not one of its CLIP models. "
            "open_clip.list_models() lists those that are, with the prefix mmrl- or mmrlpp-."
        )
    if not has_text_tokens(base):
        # transformers counts positions that tokenizers do not fill; open_clip's take these.
        length = kwargs.get("force_context_length") or base["text_cfg"].get("context_length", 77)
        model.context_length = length
    if name.is_place:
        origin = name.base
    else:
        is_file = weights is not None and not tags.is_pretrained_cfg(str(name), weights)
        origin = str(Path(weights).resolve()) if is_file and weights else weights
    model.base_origin = {"model": name.base, "pretrained": origin}
    return model


def _from_place(
    original: Callable[..., nn.Module],
    place: str,
    config: MMRLConfig,
    kwargs: Mapping[str, Any],
) -> nn.Module:
    """Build the model of a place with its weights, which open_clip takes for optional."""
    required = {"require_pretrained": True} if kwargs.get("load_weights", True) else {}
    try:
        return original(place, None, mmrl_cfg=config.to_dict(), **{**required, **kwargs})
    except RuntimeError as error:
        if "Required pretrained weights" not in str(error):
            raise
        raise ValueError(
            f"{place} has a config but no weights of open_clip (open_clip_model.safetensors): add "
            "them, or give load_weights=False for random ones."
        ) from error


def override_of(given: Any, name: ModelName) -> dict[str, Any]:
    """Return `mmrl_cfg` as a dict of the fields that differ from those registered."""
    if given is None:
        return {}
    if isinstance(given, MMRLConfig):
        # A whole config has a variant whether its writer thought of it or not.
        if given.variant != name.variant:
            raise UsageError(
                f"mmrl_cfg is an MMRLConfig of {given.variant!r}, but {str(name)!r} is "
                f"{name.variant}: create the model of the other name, or give a dict of the "
                "fields that differ."
            )
        return given.to_dict()
    if not isinstance(given, Mapping):
        raise UsageError(f"mmrl_cfg is {given!r}; give an MMRLConfig or a dict of its fields.")
    if given.get("variant", name.variant) != name.variant:
        return {"beta": None, **given}  # the other variant's default
    return dict(given)


def as_in_training(
    base: BaseInfo, name: ModelName, given: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Return arguments that run the base as in training, where none of `given` says otherwise."""
    kwargs = dict(given)
    registered = base_config(name, kwargs.get("cache_dir")) or {}
    kwargs["force_quick_gelu"] = base.quick_gelu
    size = _registered_size(registered["vision_cfg"])
    if kwargs.get("force_image_size") is None and tuple(base.image_size) != size:
        kwargs["force_image_size"] = tuple(base.image_size)
    length = registered["text_cfg"].get("context_length", 77)
    if kwargs.get("force_context_length") is None and base.context_length != length:
        kwargs["force_context_length"] = base.context_length
    stored = {k: v for k, v in (base.preprocess or {}).items() if k != "size"}
    kwargs["force_preprocess_cfg"] = {**stored, **(kwargs.get("force_preprocess_cfg") or {})}
    return kwargs


def _pair(value: Any) -> tuple[int, int]:
    """Return height and width, of both or of a number that is both."""
    height, width = value if isinstance(value, list | tuple) else (value, value)
    return height, width


def _checked_size(forced: Any, usual: tuple[int, int]) -> tuple[int, int]:
    """Return height and width that a caller forced, or the usual ones for None."""
    sides = usual if forced is None else forced
    sides = tuple(sides) if isinstance(sides, list | tuple) else (sides, sides)
    if len(sides) != 2 or not all(type(side) is int and side <= MAX_SIDE for side in sides):
        raise UsageError(
            f"force_image_size is {forced!r:.80}; give a number of pixels up to {MAX_SIDE:,}, or "
            "height and width."
        )
    return sides


def _registered_size(vision: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width in pixels of a base's images, by its vision_cfg."""
    return _pair(vision.get("image_size", CLIPVisionCfg.image_size))


def _adapter_config(
    adapter: AdapterInfo, name: ModelName, override: Mapping[str, Any]
) -> MMRLConfig:
    """Return the adapter's own config, with what may be chosen again from `override`."""
    stored, trained_on, path = adapter.config.to_dict(), adapter.base.model, adapter.path
    right = str(ModelName(trained_on or name.base, adapter.config.variant))
    if adapter.config.variant != name.variant:
        raise ValueError(
            f"{path} holds {adapter.config.variant}, not {name.variant}: create {right!r}."
        )
    # The same weights may be at several places; their fingerprint decides.
    if trained_on not in (None, name.base) and not (name.is_place or is_place(trained_on)):
        raise ValueError(
            f"{path} belongs to the base {trained_on}, not {name.base}: create {right!r}."
        )
    for key, value in override.items():
        if key not in FREE_FIELDS and stored.get(key) != value:
            raise ValueError(
                f"{path} was trained with {key}={stored.get(key)!r}; mmrl_cfg cannot make it "
                f"{value!r}. With an adapter it can set {', '.join(FREE_FIELDS)}."
            )
    return MMRLConfig.from_dict({**stored, **override})


def find_base(adapter: AdapterInfo) -> str:
    """Return the base weights an adapter names: a tag, a file, or a file moved along with it."""
    source = adapter.base.pretrained
    if source is None:
        raise ValueError(
            f"{adapter.path} does not name the base weights it was trained on: give their tag or "
            "file with base_pretrained=... (on the command line: --pretrained)."
        )
    if is_place(source) or tags.is_pretrained_cfg(adapter.base.model or "", source):
        return source
    for path in (Path(source), Path(adapter).parent / Path(source).name):
        if is_file(path):
            return str(path)
    raise ValueError(
        f"{adapter.path} was trained on the base weights {source}, which are neither a tag nor a "
        "file here: give their place with base_pretrained=... (on the command line: --pretrained)."
    )
