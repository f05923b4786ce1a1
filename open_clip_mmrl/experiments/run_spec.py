"""What decides a run's numbers, and where and how it is carried out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any

from ..config import CACHE_GB, METHODS, PROTOCOLS, MMRLConfig, TrainConfig
from ..data.loading.cache import check_cache_gb
from ..errors import UsageError
from ..hub.load import resolve_name
from ..hub.registry import registered_config
from .results import TRAINED_ON_BASE


@dataclass(frozen=True, kw_only=True)
class FewShotRun:
    """Everything that decides a run's numbers."""

    model: str
    pretrained: str | None
    data: str
    """SPEC of the data set trained on."""
    method: str | None = None
    """One of `METHODS`; None goes by the model's name."""
    protocol: str = ""
    """One of `PROTOCOLS`; by default base-to-novel for the base classes, else few-shot."""
    classes: str = "all"
    """What is trained on: "all", or the "base" half (then the novel half is tested as well)."""
    shots: int = 16
    test_split: str = "test"
    """"test", or "val" for choosing settings."""
    fusion: str = "logits"
    data_root: str | None = None
    template: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of MMRLConfig that differ from the model's own."""
    settings_source: str = "custom"
    """Where the settings come from: one of `recipes.SOURCES`, or "custom"."""
    train: TrainConfig = field(default_factory=TrainConfig)
    ablation: Mapping[str, Any] | None = None
    """The point of an ablation: {"sweep": ..., "value": ...}."""
    targets: tuple[str, ...] = ()
    """SPECs of data sets to test on without further training."""

    def __post_init__(self) -> None:
        if self.classes not in ("all", "base"):
            raise UsageError(f"classes is {self.classes!r}; a run trains on 'all' or 'base'.")
        if self.test_split not in ("test", "val"):
            raise UsageError(f"test_split is {self.test_split!r}; it has to be 'test' or 'val'.")
        if self.method is not None and self.method not in METHODS:
            raise UsageError(f"method is {self.method!r}; it has to be one of {METHODS}.")
        if not self.protocol:
            guess = "base-to-novel" if self.classes == "base" else "few-shot"
            object.__setattr__(self, "protocol", guess)
        if self.protocol not in PROTOCOLS:
            raise UsageError(f"protocol is {self.protocol!r}; it has to be one of {PROTOCOLS}.")
        if (self.protocol in TRAINED_ON_BASE) != (self.classes == "base"):
            raise UsageError(f"{self.protocol} does not train on {self.classes!r} classes.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FewShotRun:
        """The run of a `to_dict`; keys of a run.json that are none of its fields are left out."""
        known = {f.name for f in fields(cls)}
        kept = {key: value for key, value in values.items() if key in known}
        train = TrainConfig.from_dict(kept.pop("train"))
        return cls(**{**kept, "targets": tuple(kept.get("targets", ()))}, train=train)

    def replace(self, **changes: Any) -> FewShotRun:
        """The same run with some fields changed."""
        return dataclasses.replace(self, **changes)


def training_key(run: FewShotRun) -> str:
    """Equal for two runs whose training is one and the same, however they are tested."""
    kept = run.to_dict()
    for name in ("protocol", "test_split", "fusion", "ablation", "targets"):
        del kept[name]
    # Where fixed settings were found is no matter; "validation" goes on to choose among them.
    kept["settings_source"] = run.settings_source == "validation"
    name = resolve_name(run.model, run.method)
    kept["settings"] = MMRLConfig(**{**registered_config(name), **run.settings}).to_dict()
    return json.dumps(kept, sort_keys=True)


def dataset_name(spec: str) -> str:
    """Short name of a data set: "dtd" of "coop:dtd", "birds" of "folder:/data/birds"."""
    argument = spec.rpartition(":")[2] if "://" not in spec else spec
    return PurePosixPath(argument.replace("\\", "/")).name or argument


@dataclass(frozen=True)
class Runtime:
    """Where and how a run is carried out; its numbers do not depend on it."""

    device: str | None = None
    workers: int = 0
    quiet: bool = False
    cache_gb: float = CACHE_GB
    """Bound on the decoded training images kept in memory, in 10^9 bytes; 0 keeps none."""
    cuda_graph: bool = False
    """Record the training step once and replay it; CUDA only."""

    def __post_init__(self) -> None:
        check_cache_gb(self.cache_gb)
