"""`--model_type`: which features of our models clip_benchmark evaluates."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import open_clip

from open_clip_mmrl import read_adapter_info
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.hub.adapter_info import AdapterInfo
from open_clip_mmrl.hub.adapter_path import adapter_in
from open_clip_mmrl.hub.adapter_reading import is_adapter, read_adapter
from open_clip_mmrl.hub.class_tokens import readings
from open_clip_mmrl.hub.load import loading_errors, resolve_pretrained
from open_clip_mmrl.hub.names import ModelName

from .auto import SeenClasses

logger = logging.getLogger(__name__)

_create: Callable[..., tuple[Any, Any, Any]] = open_clip.create_model_and_transforms

FEATURES = {
    "mmrl": "class",
    "mmrl_fused": "fused",
    "mmrl_frozen": "frozen",
    "mmrl_auto": "class",  # until `auto` chooses for a task with class names
}
"""Model type -> `model.features`."""


def loaders() -> dict[str, Callable[..., tuple[Any, Any, Any]]]:
    """Return a loading function for every model type, for clip_benchmark's TYPE2FUNC."""
    return {name: functools.partial(load, name) for name in FEATURES}


def load(
    model_type: str,
    model_name: str,
    pretrained: str,
    cache_dir: str | None = None,
    device: Any = "cpu",
) -> tuple[Any, Any, Any]:
    """Return the model, its transform for evaluation and its tokenizer.

    Args:
        model_type: a key of `FEATURES`.
        model_name: one of our names; with an adapter file any, since the file names its model.
        pretrained: an adapter file, a run's folder, or a tag or checkpoint of the base.
        cache_dir: folder of downloaded weights; None takes open_clip's.
        device: of the model.

    Raises:
        UsageError: a name, tag or file that does not exist or does not fit the model type.
    """
    pretrained = weights_of(model_name, pretrained)
    name = resolve_model(model_type, model_name, pretrained)
    seen = _adapter_with_classes(pretrained) if model_type == "mmrl_auto" else None
    if not is_adapter(pretrained):
        resolve_pretrained(ModelName.parse(name), pretrained)
    with loading_errors(pretrained):
        model, _, transform = _create(name, pretrained=pretrained, cache_dir=cache_dir)
    if model_type != "mmrl_frozen" and not is_adapter(pretrained):
        message = "the tokens of %s are random: %s holds weights of its base, no adapter"
        logger.warning(message, name, pretrained)
    model.features = FEATURES[model_type]
    length = model.context_length
    tokenizer = open_clip.get_tokenizer(name, context_length=length)
    if seen is not None:
        model.seen_classes = SeenClasses(
            seen.class_names, lambda names: readings(tokenizer, names, seen.template, length)
        )
        model.image_means = seen.image_means
    return model.to(device), transform, tokenizer


def weights_of(model_name: str, pretrained: str) -> str:
    """Return the adapter file that `pretrained` names, or else what it is.

    A base in a place of its own brings its weights, while clip_benchmark always names some.
    """
    name = ModelName.parse(model_name)
    if name.is_place and pretrained == name.base:
        return pretrained
    found = str(adapter_in(pretrained))
    return name.base if name.is_place and not is_adapter(found) else found


def resolve_model(model_type: str, model_name: str, pretrained: str) -> str:
    """Return the registered name of a run's model: as given, or from the adapter's header."""
    name = ModelName.parse(model_name)
    if name.variant:
        return str(name)
    if not is_adapter(pretrained):
        raise UsageError(
            f"--model_type {model_type} needs a model with tokens: {model_name!r} has none and "
            f"{pretrained!r} is no adapter file. Give --model mmrl-{model_name}, or an adapter "
            "file as --pretrained."
        )
    info = read_adapter_info(pretrained)
    if info["base"]["model"] is None:
        raise UsageError(
            f"{pretrained} does not name its base model: give --model mmrl-<base> or mmrlpp-<base>."
        )
    return str(ModelName(info["base"]["model"], info["config"]["variant"]))


def _adapter_with_classes(pretrained: str) -> AdapterInfo:
    if not is_adapter(pretrained):
        raise UsageError(
            f"--model_type mmrl_auto goes by the classes an adapter was trained on, but "
            f"{pretrained!r} is no adapter file: choose mmrl, mmrl_fused or mmrl_frozen."
        )
    info = read_adapter(pretrained)
    if not info.class_names:
        raise UsageError(
            f"{pretrained} names no classes, which mmrl_auto needs: choose --model_type mmrl_fused "
            "(both features) or mmrl (the class feature)."
        )
    return info
