"""Folds of a run's own few-shot images: what is trained on, and what is held out.

Every image of the classes trained on is held out in one fold. Where new classes will be tested,
half of the *training* classes stand for them in each fold, so that both accuracies of the protocol
are measured; two folds with the halves exchanged follow each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from ...data import Example, ImageData
from ..run_spec import FewShotRun

FOLDS, FOLDS_OF_ALL_CLASSES = 4, 2
"""The second is of runs that train on all classes: their folds are larger trainings."""


@dataclass(frozen=True)
class Fold:
    """One way to divide a run's images.

    Attributes:
        data: classes that are trained on first; its test split is what is held out.
        labels: the run's labels of the classes in this order.
        base_to_novel: whether the second half of the classes stands for new ones.
    """

    data: ImageData
    labels: tuple[int, ...]
    base_to_novel: bool

    @property
    def trained_on(self) -> ImageData:
        """The classes and images that are trained on."""
        return self.data.select("base") if self.base_to_novel else self.data


def folds(subset: ImageData, run: FewShotRun) -> list[Fold]:
    """Return the folds of a run's images; none where each class has one image."""
    by_label: dict[int, list[Example]] = {label: [] for label in range(subset.num_classes)}
    for example in subset.train:
        by_label[example.label].append(example)
    if all(len(images) < 2 for images in by_label.values()):
        return []
    # Base and novel classes, two of each at least.
    base_to_novel = run.classes == "base" and subset.num_classes >= 4
    count = FOLDS if base_to_novel else FOLDS_OF_ALL_CLASSES
    order, generator, found = list(by_label), Random(run.train.seed), []
    for number in range(count):
        if base_to_novel:
            if number % 2:
                order = order[::-1]
            else:
                generator.shuffle(order)
        found.append(_fold(subset, by_label, order, number, count, base_to_novel))
    return found


def _fold(
    subset: ImageData,
    by_label: dict[int, list[Example]],
    order: list[int],
    number: int,
    count: int,
    base_to_novel: bool,
) -> Fold:
    seen = (len(order) + 1) // 2 if base_to_novel else len(order)
    train: list[Example] = []
    test: list[Example] = []
    for place, label in enumerate(order):
        images = [replace(example, label=place) for example in by_label[label]]
        size = max(1, len(images) // count) if len(images) > 1 else 0
        held_out = {(number * size + i) % len(images) for i in range(size)}
        for i, example in enumerate(images):
            (test if place >= seen or i in held_out else train).append(example)
    data = replace(
        subset,
        class_names=tuple(subset.class_names[label] for label in order),
        train=tuple(train),
        val=(),
        test=tuple(test),
        classes="all",
    )
    return Fold(data, tuple(order), base_to_novel)
