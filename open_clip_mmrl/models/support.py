"""Whether a built model supports representation tokens, and in how many of its layers.

The functions that end in `_reason` return what stands in the way, as the end of a sentence that
begins "... does not support representation tokens:", or None where nothing does.
"""

from __future__ import annotations

from torch import nn

from ..config import MMRLConfig
from ..errors import UsageError
from .base_config import lowest_start_layer
from .image_towers.families import image_reason, image_tower
from .text_towers.families import text_reason, text_tower


def unsupported_model_reason(model: nn.Module) -> str | None:
    """Return why a built CLIP or CustomTextCLIP does not support tokens, or None."""
    return image_reason(getattr(model, "visual", None)) or text_reason(model)


def suited_config(model: nn.Module, config: MMRLConfig) -> MMRLConfig:
    """Return the config as this built CLIP or CustomTextCLIP can have it.

    Where the text tower takes no tokens, `token_sides` becomes "image".

    Raises:
        ValueError: its towers do not support representation tokens.
        UsageError: it has no layer `start_layer`, or too few image layers for it, or the config
            asks for text tokens that it cannot have.
    """
    reason = unsupported_model_reason(model)
    if reason:
        raise ValueError(
            f"this model does not support representation tokens: {reason}. `open-clip-mmrl models` "
            "lists the bases that do."
        )
    tower = text_tower(model)
    if not tower.has_tokens and config.token_sides != "image":
        if config.token_sides == "text" or config.space == "text_to_image":
            raise UsageError(
                f"token_sides is {config.token_sides!r} and space {config.space!r}, but this "
                "model's text tower is from Hugging Face and takes no tokens: leave both out, or "
                "give token_sides='image'."
            )
        config = config.replace(token_sides="image")
    text, image = counted_depth(model), image_depth(model)
    lowest = lowest_start_layer(text, image)
    if not lowest <= config.start_layer <= text:
        words = f"{text} text and {image} image" if tower.has_tokens else f"{image} image"
        raise UsageError(
            f"start_layer is {config.start_layer}, but this model has {words} layers: allowed are "
            f"{lowest} to {text}."
        )
    return config


def image_depth(model: nn.Module) -> int:
    """Return the number of layers of a model's image tower."""
    visual = model.visual
    assert isinstance(visual, nn.Module)  # or there was a reason
    return image_tower(visual).depth


def counted_depth(model: nn.Module) -> int:
    """Return the layers in which `start_layer` counts: the text tower's.

    The image tower's where the text tower takes no tokens.
    """
    tower = text_tower(model)
    return tower.depth if tower.has_tokens else image_depth(model)


def token_layers(model: nn.Module, config: MMRLConfig) -> int:
    """Return n, the layers with tokens: as many in both towers."""
    return counted_depth(model) - config.start_layer + 1
