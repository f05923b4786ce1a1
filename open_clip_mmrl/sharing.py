"""Several adapters on one frozen base: what they share is run once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .model import MMRLCLIP


def encode_image_each(
    models: Sequence[MMRLCLIP],
    image: Tensor,
    normalize: bool = False,
    features: str | None = None,
) -> list[Tensor]:
    """`encode_image` of several models on one base, with the layers that they share run once.

    Args:
        models: a model and its siblings. Those with the same `start_layer` share all layers
            below it.
    """
    if len({id(model.visual.conv1.weight) for model in models}) > 1:
        raise ValueError(
            "the models stand on different base weights; make them with model.sibling(config)."
        )
    hidden: dict[int, Tensor] = {}
    for tower in (model.image_tower for model in models):
        if tower.token_layers not in hidden:
            hidden[tower.token_layers] = tower.lower(image)
    return [
        model.encode_hidden(hidden[model.image_tower.token_layers], normalize, features)
        for model in models
    ]
