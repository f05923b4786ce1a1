"""The names that we register with open_clip, and the method's config under each of them.

What imports open_clip is imported inside functions: see `registry`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from .. import assets
from ..config import MMRLConfig, Variant
from ..errors import UsageError
from ..models.base_config import depths, has_text_tokens, lowest_start_layer, unsupported_reason
from ..utils.text import did_you_mean
from .names import PREFIXES, ModelName


def variant_of(name: object) -> Variant | None:
    """Return the variant in a registered name, which may be anything."""
    return ModelName.parse(name).variant if isinstance(name, str) else None


def is_ours(name: Any) -> bool:
    """Return whether `register()` made this name, rather than a user's own config file."""
    from open_clip import factory

    config = factory._MODEL_CONFIGS.get(name, {"mmrl_cfg": {}})
    is_ours = isinstance(config, dict) and isinstance(config.get("mmrl_cfg"), dict)
    return name == assets.MODEL_NAME or (variant_of(name) is not None and is_ours)


def default_config(base: Mapping[str, Any], variant: Variant) -> MMRLConfig:
    """Return the paper's config for a base with this open_clip config.

    J is 6 of 12 text layers, as in the paper; for other depths half-way up, or as low as a
    shallower image tower allows. Where no text tower takes tokens, J counts in the image tower.
    The depth of timm's is not known here: 6 is taken of it, and it is taken to have 12 layers, or
    half as many as the text tower (PE-Core-B: 12 and 24).
    """
    text, image = depths(base)
    start = 6
    if text is not None:
        start = max(lowest_start_layer(text, image or max(12, text // 2)), text // 2)
    sides = "both" if has_text_tokens(base) else "image"
    return MMRLConfig(variant=variant, start_layer=start, token_sides=sides)


def register_base(base: str) -> None:
    """Add both of our names of a base, with its tags."""
    from open_clip import factory
    from open_clip import pretrained as tags

    config = factory._MODEL_CONFIGS[base]
    for variant in PREFIXES.values():
        name = str(ModelName(base, variant))
        ours = {**deepcopy(config), "mmrl_cfg": default_config(config, variant).to_dict()}
        factory._MODEL_CONFIGS[name] = ours
        if base in tags._PRETRAINED:
            tags._PRETRAINED[name] = tags._PRETRAINED[base]


def registered_config(name: ModelName, cache_dir: str | None = None) -> dict[str, Any]:
    """Return the method's config registered under one of our names, or suited to a place's base.

    A base added since `register()` is registered on the way.

    Args:
        name: with a variant.
        cache_dir: of huggingface_hub, where a config may have to be fetched; None takes its own.

    Raises:
        UsageError: open_clip has no such base, or it does not support representation tokens.
    """
    from open_clip import factory

    base, full, configs = name.base, str(name), factory._MODEL_CONFIGS
    if variant_of(base):
        raise UsageError(
            f"{full!r} would add representation tokens twice: create {base!r}, which has them."
        )
    if name.is_place:
        from .base_place import base_config

        config = base_config(name, cache_dir)
        assert config is not None  # of a place
        if any(str(key).startswith("mmrl_cfg") for key in config):
            raise UsageError(
                f"{full!r} would add representation tokens twice: create {base!r}, which has them."
            )
        _require_tokens(base, config)
        return default_config(config, name.method).to_dict()
    if full not in configs:
        if base not in configs:
            raise UsageError(
                f"open_clip has no model {base!r}, so there is no {full!r}."
                f"{did_you_mean(full, filter(variant_of, configs))} "
                "open_clip.list_models() lists all."
            )
        _require_tokens(base, configs[base])
        register_base(base)
    if not is_ours(full):
        raise UsageError(
            f"the config registered with open_clip as {full!r} has no 'mmrl_cfg' with the method's "
            "config: add it, or give it another name."
        )
    return configs[full]["mmrl_cfg"]


def _require_tokens(base: str, config: Mapping[str, Any]) -> None:
    """Raise UsageError where a base does not support tokens, naming the nearest that does."""
    reason = unsupported_reason(config)
    if reason:
        raise UsageError(
            f"{base} does not support representation tokens: {reason}. "
            f"The nearest that does is {nearest_base(base, config)}; open-clip-mmrl models lists "
            "all."
        )


def nearest_base(base: str, config: Any) -> str:
    """Return the registered base that is most like one that does not support tokens.

    One with the same image tower first; then one with weights, with a tag in common (they name
    training data), a like text tower, the nearest embedding width and image size.
    """
    from open_clip import factory
    from open_clip import pretrained as tags

    def far(other: str) -> tuple[bool | float, ...]:
        its = factory._MODEL_CONFIGS[other]
        shared = {*tags._PRETRAINED.get(base, ())} & {*tags._PRETRAINED.get(other, ())}
        images = [_setting(c, "vision_cfg", "image_size", 224) for c in (config, its)]
        embeds = [_number(c, "embed_dim", 512) for c in (config, its)]
        return (
            _image_tower(config) is None or _image_tower(config) != _image_tower(its),
            not tags._PRETRAINED.get(other),
            not shared,
            _text_tower(config) != _text_tower(its),
            abs(math.log(embeds[0] / embeds[1])),
            abs(math.log(images[0] / images[1])),
        )

    names = (ModelName.parse(name) for name in factory._MODEL_CONFIGS if isinstance(name, str))
    ours = (name.base for name in names if name.variant == "mmrl" and is_ours(str(name)))
    return min((name for name in ours if name != assets.MODEL_NAME), key=far)


def _image_tower(config: Any) -> list[int] | None:
    """Return what tells open_clip's own image towers apart; None for others."""
    vision = config.get("vision_cfg") if isinstance(config, dict) else None
    if not isinstance(vision, dict) or "layers" not in vision or vision.get("timm_model_name"):
        return None
    return [_number(vision, name, 0) for name in ("width", "layers", "patch_size", "image_size")]


def _text_tower(config: Any) -> object:
    """Return Hugging Face's name of a text tower, or the width of open_clip's own."""
    text = config.get("text_cfg") if isinstance(config, dict) else None
    name = text.get("hf_model_name") if isinstance(text, dict) else None
    return name or _number(text, "width", 512)


def _setting(config: Any, tower: str, name: str, default: int) -> int:
    """Return a number of a tower in a config that may hold anything."""
    return _number(config.get(tower) if isinstance(config, dict) else None, name, default)


def _number(content: Any, name: str, default: int) -> int:
    """Return a number of what may be anything; 1 where it is none."""
    value = content.get(name, default) if isinstance(content, dict) else default
    return value if isinstance(value, int) and value > 0 else 1
