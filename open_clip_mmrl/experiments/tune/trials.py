"""What settings got right in one fold, class by class, and the file of what was tried so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...config import Fusion
from ...evaluation.logits import Logits, Scoring
from ...utils.files import json_bytes, read_json, write_atomically
from ...utils.json_fields import Content, number, numbers, required, rows
from ..result_parts import known
from .folds import Fold

Settings = Mapping[str, float]
"""Values of fields of MMRLConfig."""


@dataclass(frozen=True)
class Trial:
    """Settings in one fold, with images and right answers by the run's labels.

    Attributes:
        fold: its number.
        settings: of training.
        seconds: what training and scoring took.
        trained: labels that were trained on; the others stood for new classes.
        images: held-out images of each class.
        hits: by alpha, how many of them were right: of classes trained on by both features, of
            new ones by the class feature.
    """

    fold: int
    settings: Settings
    seconds: float
    trained: tuple[int, ...]
    images: tuple[int, ...]
    hits: Mapping[float, tuple[int, ...]]

    def is_of(self, fold: int, settings: Settings) -> bool:
        """Return whether these settings were tried in this fold here."""
        return self.fold == fold and self.settings == settings

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        hits = {str(alpha): counts for alpha, counts in self.hits.items()}
        return {**vars(self), "settings": dict(self.settings), "hits": hits}

    @classmethod
    def from_json(cls, content: Content) -> Trial:
        """Read an entry."""
        hits = {float(alpha): _counts(counts) for alpha, counts in content["hits"].items()}
        found = cls(
            fold=required(content, "fold", int),
            settings=known(numbers(content, "settings")),
            seconds=number(content, "seconds") or 0,
            trained=_counts(content["trained"]),
            images=_counts(content["images"]),
            hits=hits,
        )
        if not hits or any(len(counts) != len(found.images) for counts in hits.values()):
            raise ValueError("'hits' does not match 'images'")
        return found


def _counts(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(one) is int and one >= 0 for one in value):
        raise ValueError(f"{str(value)[:80]!r} is no list of counts")
    return tuple(value)


def count_hits(
    logits: Logits, fold: Fold, alphas: Sequence[float], fusion: Fusion
) -> tuple[tuple[int, ...], tuple[int, ...], dict[float, tuple[int, ...]]]:
    """Return `trained`, `images` and `hits` of a `Trial`."""
    total = len(fold.labels)
    seen = fold.trained_on.num_classes
    labels = torch.tensor(fold.labels)
    of_run = labels[logits.labels]  # [N]
    right = torch.zeros(len(of_run), dtype=torch.bool)
    is_new = logits.labels >= seen
    if seen < total:
        new = logits.split(range(seen, total))
        right[is_new] = _right(new, Scoring("class"))
    base, hits = logits.split(range(seen)), {}
    for alpha in alphas:
        right[~is_new] = _right(base, Scoring("fused", alpha, fusion))
        hits[alpha] = tuple(torch.bincount(of_run[right], minlength=total).tolist())
    images = torch.bincount(of_run, minlength=total)
    return fold.labels[:seen], tuple(images.tolist()), hits


def _right(logits: Logits, scoring: Scoring) -> Tensor:
    return logits.scores(scoring).argmax(dim=1) == logits.labels


def write_trials(path: Path, trials: Sequence[Trial]) -> None:
    """Write all that was tried."""
    write_atomically(path, json_bytes([trial.to_json() for trial in trials]))


def read_trials(path: Path, labels: int, *, training_began: bool) -> list[Trial]:
    """Return the trials of a stopped run; none where an earlier version tried other folds.

    Args:
        path: of the file, which need not be there.
        labels: how many the run has.
        training_began: whether the run itself has been trained with what was chosen.

    Raises:
        ValueError: the file is damaged, or is an earlier version's, and a training with what that
            chose has begun.
    """
    if not path.is_file():
        return []
    try:
        content = read_json(path)
        if not isinstance(content, list):
            raise ValueError(f"holds a {type(content).__name__}, not a list")
        entries = rows({"trials": content}, "trials")
        is_earlier = bool(entries) and all("alpha_curve" in entry for entry in entries)
        trials = [] if is_earlier else [Trial.from_json(entry) for entry in entries]
        if any(len(trial.images) != labels for trial in trials):
            raise ValueError(f"an entry is not of {labels} classes")
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to choose again.") from error
    if is_earlier and training_began:
        raise ValueError(
            f"{path} is of an earlier version, which chose in another way, and this run has been "
            f"trained with its choice: remove the folder {path.parent} to start again."
        )
    return trials
