"""Which family an image tower is of, by its modules; never by the model's name."""

from __future__ import annotations

from torch import nn

from ..whole_blocks import warn_bypassed
from .open_clip_vit import ClassTokenTower, PooledTower
from .timm_vit import EvaTower, TimmViTTower
from .tower import ImageTower

FAMILIES: tuple[type[ImageTower], ...] = (ClassTokenTower, PooledTower, TimmViTTower, EvaTower)
"""The first that matches is taken."""


def _family(visual: object) -> type[ImageTower] | None:
    if not isinstance(visual, nn.Module):
        return None
    return next((family for family in FAMILIES if family.matches(visual)), None)


def image_reason(visual: object) -> str | None:
    """Return why a built image tower does not support tokens, or None.

    The reason is the end of a sentence that begins "... does not support representation tokens:".
    """
    family = _family(visual)
    if family is None:
        kind = type(getattr(visual, "trunk", visual)).__name__
        known = "open_clip's or timm's VisionTransformer or timm's Eva"
        return f"its image tower is a {kind}, not {known}"
    return family.unsupported_reason(visual)


def image_tower(visual: nn.Module, token_layers: int = 1) -> ImageTower:
    """Return the view of an image tower that supports tokens.

    Args:
        visual: open_clip's image tower.
        token_layers: n, layers with tokens, counted from the top.
    """
    family = _family(visual)
    if family is None:  # `check_model` has seen another one
        raise ValueError(
            f"model.visual has become a {type(visual).__name__}, whose layers cannot be found: "
            "leave it as it is, and wrap or compile its blocks or the whole model."
        )
    warn_bypassed("visual", visual)
    for name in ("transformer", "trunk"):
        if hasattr(visual, name):
            warn_bypassed(f"visual.{name}", getattr(visual, name))
    return family(visual, token_layers)
