"""Settings with their sources: functions that return full configs."""

from __future__ import annotations

from typing import Any, NamedTuple

from .config import VARIANTS, TrainConfig
from .errors import UsageError

PROTOCOLS = ("base-to-novel", "few-shot")


class Recipe(NamedTuple):
    """What a run needs beside model and data: overrides of MMRLConfig, and a TrainConfig."""

    method: dict[str, Any]
    train: TrainConfig


def recipe(variant: str, protocol: str) -> Recipe:
    """The paper's training of one protocol, with one setting for all data sets.

    Source: appendix A of the MMRL paper; MMRL++'s few-shot values from its released
    configuration files. lambda and beta keep the defaults of `MMRLConfig`.
    """
    if variant not in VARIANTS:
        raise UsageError(f"method is {variant!r}; it has to be one of {VARIANTS}.")
    if protocol == "base-to-novel":
        return Recipe({}, TrainConfig(lr=1e-3, batch_size=4, epochs=10))
    if protocol == "few-shot":
        if variant == "mmrl":
            return Recipe({}, TrainConfig(lr=1e-3, batch_size=32, epochs=50))
        return Recipe({}, TrainConfig(lr=2e-3, batch_size=32, epochs=100))
    raise UsageError(f"protocol is {protocol!r}; it has to be one of {PROTOCOLS}.")


def demo() -> Recipe:
    """The demo's: the tiny CLIP of printed characters meets handwritten digits.

    One setting for both methods and all seeds, chosen on the validation part of the digits.
    """
    shared = {"start_layer": 2, "rep_dim": 64, "reg_weight": 3.0}
    train = TrainConfig(lr=2e-3, batch_size=16, epochs=30, flip=False)
    return Recipe(shared, train)


def changed(train: TrainConfig, **changes: Any) -> TrainConfig:
    """The same training with some fields changed; unknown names are a UsageError."""
    return TrainConfig.from_dict({**train.to_dict(), **changes})
