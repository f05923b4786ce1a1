"""The peers by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..config import Peer as Name
from ..config import Shots, TrainConfig
from . import clip_lora, coop, tip_adapter
from .peer import Peer, PeerTask


class PeerMethod(NamedTuple):
    """How a peer is trained."""

    recipe: Callable[[Shots, str], TrainConfig]
    """Its paper's settings, for so many images per class of a data set."""
    train: Callable[[PeerTask], Peer]


PEER_METHODS: Mapping[Name, PeerMethod] = {
    "tip_adapter": PeerMethod(tip_adapter.recipe, tip_adapter.train_tip_adapter),
    "tip_adapter_f": PeerMethod(tip_adapter.recipe, tip_adapter.train_tip_adapter_f),
    "coop": PeerMethod(coop.recipe, coop.train_coop),
    "clip_lora": PeerMethod(clip_lora.recipe, clip_lora.train_clip_lora),
}
