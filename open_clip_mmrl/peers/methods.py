"""The peers by their names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..config import Peer as Name
from ..config import Shots, TrainConfig
from ..data.sampling import shots_number
from . import clip_lora, coop, tip_adapter
from .peer import Peer, PeerTask


class PeerMethod(NamedTuple):
    """How a peer is trained."""

    recipe: Callable[[Shots, str], TrainConfig]
    """Its paper's settings, for so many images per class of a data set."""
    train: Callable[[PeerTask], Peer]
    steps_per_shot: float = math.inf
    """A bound on the steps of its training, besides the epochs."""

    def max_steps(self, shots: Shots) -> float:
        """Return the bound for so many images per class."""
        return shots_number(shots) * self.steps_per_shot


PEER_METHODS: Mapping[Name, PeerMethod] = {
    "tip_adapter": PeerMethod(tip_adapter.recipe, tip_adapter.train_tip_adapter),
    "tip_adapter_f": PeerMethod(tip_adapter.recipe, tip_adapter.train_tip_adapter_f),
    "coop": PeerMethod(coop.recipe, coop.train_coop),
    "clip_lora": PeerMethod(clip_lora.recipe, clip_lora.train_clip_lora, clip_lora.STEPS_PER_SHOT),
}
