"""What decides a run's numbers, and where and how it runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ..config import (
    CACHE_GB,
    METHODS,
    PEERS,
    PROTOCOLS,
    VARIANTS,
    Fusion,
    Method,
    MMRLConfig,
    Peer,
    Protocol,
    Shots,
    TrainConfig,
)
from ..data import FolderOptions
from ..data.dataset import dataset_name as dataset_name
from ..data.loading.cache import check_cache_gb
from ..errors import UsageError
from ..hub.load import resolve_name
from ..hub.registered import registered_config
from ..utils.files import expand_home
from ..utils.ranks import Ranks
from .results import TRAINED_ON_BASE

_BY_CLASSES: Any = ""
"""`__post_init__` puts a protocol in its place."""


@dataclass(frozen=True, kw_only=True)
class FewShotRun:
    """Everything that decides a run's numbers."""

    model: str
    pretrained: str | None
    data: str
    """Data spec of the data set trained on."""
    method: Method | None = None
    """One of `METHODS`; None goes by the model's name."""
    protocol: Protocol = _BY_CLASSES
    """One of `PROTOCOLS`; by default base-to-novel for the base classes, else few-shot."""
    classes: Literal["all", "base"] = "all"
    """Trained on: "all", or the "base" classes (then the novel ones are tested as well)."""
    shots: Shots = 16
    test_split: Literal["test", "val"] = "test"
    """"test", or "val" for choosing settings."""
    fusion: Fusion = "logits"
    data_root: str | None = None
    template: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of MMRLConfig that differ from the model's own."""
    settings_source: str = "custom"
    """Where the settings come from: one of `config.SOURCES`, or "custom"."""
    train: TrainConfig = field(default_factory=TrainConfig)
    ablation: Mapping[str, Any] | None = None
    """The point of an ablation: {"sweep": ..., "value": ...}."""
    targets: tuple[str, ...] = ()
    """Data specs of data sets to test on without further training."""
    calibrate: bool = False
    """Measure on images that are not trained on how sure to be: those of the val split, or else
    a quarter of the shots."""
    test_fraction: float | None = None
    """Of each class's images in a `folder:` without a test split; None: the usual one. As the next
    two, it is written where it is given."""
    nested: bool = False
    """Whether each folder that holds images is a class, however deep below `folder:`."""
    class_names: Mapping[str, str] | None = None
    """By the name of the class folder."""
    prompts: Mapping[str, Any] | None = None
    """Besides the template: `MorePrompts.to_json`."""

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
        MMRLConfig.from_dict(self.settings)

    @property
    def folder(self) -> FolderOptions:
        """Return how a `folder:` is read."""
        return FolderOptions(
            nested=self.nested, test_fraction=self.test_fraction, class_names=self.class_names
        )

    @property
    def trains_adapter(self) -> bool:
        """Return whether the method is MMRL or MMRL++, as given or by the model's name."""
        return self.method is None or self.method in VARIANTS

    @property
    def variant(self) -> Method | None:
        """Return the method where it is given and trains an adapter."""
        return self.method if self.trains_adapter else None

    @property
    def peer(self) -> Peer | None:
        """Return the method where it is a peer."""
        return next((peer for peer in PEERS if peer == self.method), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        values = json.loads(json.dumps({**asdict(self), "train": self.train.to_dict()}))
        for name in ("calibrate", "test_fraction", "nested", "class_names", "prompts"):
            if values[name] == getattr(FewShotRun, name):
                del values[name]  # files of runs without it stay what they were
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FewShotRun:
        """Return the run of a `to_dict`; keys that are no fields are ignored."""
        known = {f.name for f in fields(cls)}
        kept: dict[str, Any] = {key: value for key, value in values.items() if key in known}
        kept["train"] = TrainConfig.from_dict(kept["train"])
        kept["targets"] = tuple(kept.get("targets", ()))
        return cls(**kept)

    def replace(self, **changes: Any) -> FewShotRun:
        """Return the same run with some fields changed."""
        return dataclasses.replace(self, **changes)


def training_key(run: FewShotRun) -> str:
    """Return a text that is equal for two runs with the same training, however they are tested."""
    kept = run.to_dict()
    for name in ("protocol", "test_split", "fusion", "ablation", "targets"):
        del kept[name]
    # The source of fixed settings does not matter; "validation" still chooses among them.
    kept["settings_source"] = run.settings_source == "validation"
    name = resolve_name(run.model, run.method)
    kept["settings"] = MMRLConfig(**{**registered_config(name), **run.settings}).to_dict()
    return json.dumps(kept, sort_keys=True)


def training_digest(run: FewShotRun, images: str) -> str:
    """Return what tells a run's checkpoint from those of others.

    It leaves out folders, which may move, and fields at their defaults, so that a later version
    with more fields resumes what this one began.

    Args:
        run: the run.
        images: digest of the images that are trained on, by which their folder is known.
    """
    kept = json.loads(training_key(run))
    defaults = {f.name: f.default for f in fields(FewShotRun)}
    kept = {name: value for name, value in kept.items() if value != defaults[name]}
    for name, usual in (("train", TrainConfig()), ("settings", MMRLConfig())):
        own = usual.to_dict()
        kept[name] = {key: value for key, value in kept[name].items() if value != own.get(key)}
    kept.pop("data_root", None)
    kept["data"] = run.data.partition(":")[0]
    kept["pretrained"] = dataset_name(run.pretrained or "")
    return hashlib.sha256(json.dumps([kept, images], sort_keys=True).encode()).hexdigest()[:16]


def with_absolute_paths(run: FewShotRun, folder: Path) -> FewShotRun:
    """Return the run with one spelling for each place: its paths as they are from a folder."""
    weights = run.pretrained
    if weights is not None and (folder / expand_home(weights)).is_file():
        weights = _absolute(weights, folder)
    return run.replace(
        data=_absolute_spec(run.data, folder),
        targets=tuple(_absolute_spec(target, folder) for target in run.targets),
        data_root=None if run.data_root is None else _absolute(run.data_root, folder),
        pretrained=weights,
    )


def _absolute_spec(spec: str, folder: Path) -> str:
    kind, _, argument = spec.partition(":")
    is_path = kind in ("folder", "wds") and "://" not in argument
    return f"{kind}:{_absolute(argument, folder)}" if is_path else spec


def _absolute(path: str, folder: Path) -> str:
    return os.path.normpath(folder / expand_home(path))


@dataclass(frozen=True)
class Runtime:
    """Where and how a run takes place; its numbers do not depend on it."""

    device: str | None = None
    workers: int = 0
    quiet: bool = False
    cache_gb: float = CACHE_GB
    """Bound on the decoded training images kept in memory, in 10^9 bytes; 0 keeps none."""
    cuda_graph: bool = False
    """Record the training step once and replay it; CUDA only."""
    describe: Literal["no", "briefly", "fully"] = "no"
    """What to log of data and training before a run: nothing, a line of data, or all."""
    keep_base: bool = False
    """Keep the base's weights in memory, for the next run of this process."""
    ranks: Ranks | None = None
    """The processes that train together, if there are several; this one is the first."""

    def __post_init__(self) -> None:
        check_cache_gb(self.cache_gb)
        if self.ranks is not None and ":" in (self.device or ""):
            raise UsageError(
                f"device is {self.device!r}, but each of the {self.ranks.count} processes takes a "
                "GPU of its own: give cuda or cpu."
            )
        if self.ranks is not None and self.cuda_graph:
            raise UsageError("--cuda-graph records the steps of one process only: leave it out.")
