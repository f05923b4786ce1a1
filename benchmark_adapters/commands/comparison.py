"""What a few-shot comparison is about: a data set, a model, and methods x shots x seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from open_clip_mmrl.config import VARIANTS, TrainConfig
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.recipes import changed, recipe
from open_clip_mmrl.hub.load import resolve_pretrained
from open_clip_mmrl.hub.names import ModelName
from open_clip_mmrl.utils.text import did_you_mean

METHODS = ("zeroshot", "linear_probe", *VARIANTS)
SHOTS = (1, 2, 4, 8, 16)


class Job(NamedTuple):
    """One result: zero-shot CLIP has 0 shots and no seed."""

    method: str
    shots: int
    seed: int | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that decides the numbers.

    Raises:
        UsageError: a name, tag, file or value that does not exist.
    """

    dataset: str
    """clip_benchmark's name: "wds/NAME", or one of its own data sets."""
    dataset_root: str
    """clip_benchmark's: a folder or URL, in which {dataset} and {dataset_cleaned} are filled."""
    model: str
    """An open_clip model, with a method's prefix or without."""
    pretrained: str | None = None
    """Its weights, a tag or a checkpoint file; always set after construction."""
    shots: tuple[int, ...] = SHOTS
    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = (1,)
    template: str | None = None
    """Prompt, {} for the class name; None takes the data set's."""
    precision: str = "fp32"
    """Of training and evaluation; clip_benchmark's amp is on unless it is "fp32"."""
    train: Mapping[str, Any] = field(default_factory=dict)
    """Fields of TrainConfig that differ from the paper's few-shot recipe."""

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise UsageError(
                    f"method is {method!r}.{did_you_mean(method, METHODS)} "
                    f"Methods: {', '.join(METHODS)}."
                )
        for name, lowest in (("shots", 1), ("seeds", 0)):
            wrong = [value for value in getattr(self, name) if value < lowest]
            if wrong:
                raise UsageError(f"{name} has {wrong[0]}; it takes whole numbers from {lowest} up.")
        if not self.name:
            raise UsageError(f"dataset is {self.dataset!r}; give wds/NAME or another name.")
        try:  # as clip_benchmark will, after the training
            self.dataset_root.format(dataset=self.name, dataset_cleaned=self.name)
        except (LookupError, ValueError) as error:
            raise UsageError(
                f"dataset_root is {self.dataset_root!r}; between braces it takes {{dataset}} and "
                "{dataset_cleaned} only."
            ) from error
        weights = resolve_pretrained(ModelName(self.base, "mmrl"), self.pretrained)
        object.__setattr__(self, "pretrained", weights)
        self.train_config("mmrl", 0)  # wrong settings are named before anything runs

    @property
    def base(self) -> str:
        """The base model's name."""
        return ModelName.parse(self.model).base

    @property
    def name(self) -> str:
        """The data set's, as clip_benchmark fills it in: without wds/."""
        return self.dataset.removeprefix("wds/")

    @property
    def spec(self) -> str:
        """The data set for `load_data`, which takes `dataset_root` as it is."""
        return f"clip_benchmark:{self.dataset}"

    def train_config(self, variant: str, seed: int) -> TrainConfig:
        """The paper's few-shot training of a variant, with the changes asked for."""
        short = {"imagenet1k": "imagenet"}.get(self.name, self.name)
        config = recipe(variant, "few-shot", short).train
        return changed(config, **self.train, precision=self.precision, seed=seed)

    def jobs(self) -> Iterator[Job]:
        """All results, the cheap ones first; zero-shot CLIP once."""
        for method in METHODS:
            if method not in self.methods:
                continue
            if method == "zeroshot":
                yield Job(method, 0, None)
                continue
            for shots in sorted(set(self.shots)):
                for seed in sorted(set(self.seeds)):
                    yield Job(method, shots, seed)
