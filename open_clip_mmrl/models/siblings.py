"""Several models on one base, made by `MMRLCLIP.sibling`.

Shapes: B images, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .mmrl_clip import MMRLCLIP


def encode_image_each(
    models: Sequence[MMRLCLIP],
    image: Tensor,
    normalize: bool = False,
    features: str | None = None,
) -> list[Tensor]:
    """Run `encode_image` of several models on one base, the layers they share only once.

    Args:
        models: a model and its siblings. Those with the same `start_layer` share all layers
            below it.
        image: [B, 3, H, W], normalized as the base model expects.
        normalize: to unit length.
        features: as in `MMRLCLIP.encode_image`.

    Returns:
        Image features [B, E] ("fused": [B, 2E]) of every model.

    Raises:
        ValueError: the models do not share their base weights.

    Example:
        >>> import open_clip, torch
        >>> first = open_clip.create_model("mmrl-ViT-Ti-8-glyphs", pretrained="printed").eval()
        >>> images = torch.zeros(1, 3, *first.visual.image_size)
        >>> one, two = encode_image_each([first, first.sibling().eval()], images)
        >>> torch.equal(one, first.encode_image(images))
        True
    """
    if len({tuple(map(id, model.visual.parameters())) for model in models}) > 1:
        raise ValueError(
            "the models have different base weights; make them with model.sibling(config)."
        )
    hidden: dict[int, Any] = {}
    for tower in (model.image_tower for model in models):
        if tower.token_layers not in hidden:
            hidden[tower.token_layers] = tower.lower(image)
    return [
        model.encode_hidden(hidden[model.image_tower.token_layers], normalize, features)
        for model in models
    ]
