"""What is known of each base: its towers, layers with tokens, trained parameters, or why not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import torch
from open_clip import factory
from open_clip.model import CLIP, CLIPTextCfg

from ..config import VARIANTS
from ..models.base_config import depths, unsupported_reason
from ..models.image_towers.families import image_tower
from ..models.learner import RepresentationLearner
from ..models.text_towers.bidirectional import BidirectionalTextTower
from ..models.text_towers.causal import CausalTextTower
from ..models.text_towers.hugging_face import HuggingFaceTextTower
from .names import ModelName
from .registered import default_config, nearest_base

_SMALL_TEXT = CLIPTextCfg(context_length=1, vocab_size=1, width=8, heads=1, layers=1)


@dataclass(frozen=True)
class Tower:
    """One tower of a base; 0 layers and width where only transformers knows them."""

    family: str
    layers: int
    width: int


@dataclass(frozen=True)
class CatalogEntry:
    """One base of open_clip. Where it supports tokens, all but `reason` and `nearest` are known.

    Attributes:
        name: open_clip's.
        image, text: its towers.
        token_layers: n, by default.
        token_sides: which towers get tokens.
        parameters: trained by default, by method.
        reason: why it does not support tokens, after "...:".
        nearest: the base that is most like it and does.
    """

    name: str
    image: Tower | None = None
    text: Tower | None = None
    token_layers: int | None = None
    token_sides: str | None = None
    parameters: Mapping[str, int] | None = None
    reason: str | None = None
    nearest: str | None = None


def catalog(part: str = "") -> Iterator[CatalogEntry]:
    """Yield an entry for every base that open_clip has registered.

    Image towers are built without memory, because timm's configs do not hold their sizes.

    Args:
        part: of the names, in any case; "" takes all.
    """
    for name, config in list(factory._MODEL_CONFIGS.items()):
        if ModelName.parse(name).variant is None and part.lower() in name.lower():
            yield _entry(name, config)


def _entry(name: str, config: Mapping[str, Any]) -> CatalogEntry:
    reason = unsupported_reason(config)
    if reason:
        return CatalogEntry(name, reason=reason, nearest=nearest_base(name, config))
    image, text = image_tower_of(config), _text(config["text_cfg"])
    settings = {variant: default_config(config, variant) for variant in VARIANTS}
    counted = depths(config)[0] or image.layers
    layers = counted - settings["mmrl"].start_layer + 1
    widths = {"image_width": image.width, "text_width": text.width or 1}
    with torch.device("meta"):
        learners = {
            variant: RepresentationLearner(
                each, **widths, embed_dim=config["embed_dim"], layers=layers
            )
            for variant, each in settings.items()
        }
    trained: dict[str, int] = {
        variant: sum(p.numel() for p in learner.parameters())
        for variant, learner in learners.items()
    }
    return CatalogEntry(name, image, text, layers, settings["mmrl"].token_sides, trained)


def image_tower_of(config: Mapping[str, Any]) -> Tower:
    """Return the image tower of an open_clip config that supports tokens."""
    return _image(json.dumps(config["vision_cfg"], sort_keys=True), config["embed_dim"])


@cache
def _image(vision: str, embed_dim: int) -> Tower:
    """Build the image tower of a config, JSON text; one layer where the config tells how many."""
    config = json.loads(vision)
    layers = None if config.get("timm_model_name") else config.get("layers", 12)
    if layers is not None:
        config["layers"] = 1
    with torch.device("meta"):
        tower = image_tower(CLIP(embed_dim, config, _SMALL_TEXT).visual)
    return Tower(tower.family, layers or tower.depth, tower.width)


def _text(config: Mapping[str, Any]) -> Tower:
    if config.get("hf_model_name"):
        return Tower(HuggingFaceTextTower.family, 0, 0)
    family = BidirectionalTextTower if config.get("no_causal_mask") else CausalTextTower
    known = {**asdict(CLIPTextCfg()), **config}
    return Tower(family.family, known["layers"], known["width"])
