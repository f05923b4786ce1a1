"""Few-shot subsets, and base and novel classes. No other library.

Both decide whether results can be compared with published ones, so they follow CoOp and its Dassl
toolbox, on which the released code is built: the same seed picks the same images.
"""

import operator
import random
from collections.abc import Sequence
from numbers import Integral

from ..config import Shots
from ..errors import UsageError

_MANY = 2**63


def shots_number(shots: Shots) -> int:
    """Return the shots as a number: "all" is more than any class has."""
    return _MANY if shots == "all" else shots


def parse_shots(text: str) -> Shots:
    """Read a number of images per class, or "all", as commands take them.

    Raises:
        UsageError: it is neither.
    """
    if text == "all":
        return "all"
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise UsageError(f"--shots has {text!r}; give whole numbers from 1 up, or all.")
    return number


def few_shot_subset(labels: Sequence[int], shots: Shots, seed: int) -> list[int]:
    """Return indices into `labels` of up to `shots` examples of every class, class by class.

    Classes come in the order in which they first appear in `labels`, and one generator draws for
    all of them in that order, so the draw of a class depends on the classes before it: draw from
    all classes and select the base or novel classes afterwards.

    A class with fewer than `shots` examples gives all of them, in their order, and does not use
    the generator. That is Dassl's present default (`repeat=False`); its early versions filled such
    classes up by drawing with replacement.

    Args:
        labels: one integer per training example; an integer array or tensor will do.
        shots: examples per class, at least 1, or "all".
        seed: the run's seed, at least 0. The draw equals `random.seed(seed)` followed by one
            `random.sample(items, shots)` per class.

    Raises:
        ValueError: `labels` is empty or holds something else than integers, `shots` is below 1,
            or `seed` is negative.
    """
    shots = _whole_number("shots", shots_number(shots), minimum=1)
    # random.Random takes the absolute value: -1 would silently repeat the run of seed 1.
    seed = _whole_number("seed", seed, minimum=0)
    if hasattr(labels, "tolist"):  # the entries of a tensor are all different as dict keys
        labels = labels.tolist()
    if len(labels) == 0:
        raise ValueError("labels is empty: there is nothing to draw a few-shot subset from")

    by_class: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        if not isinstance(label, Integral):
            raise ValueError(f"labels[{index}] is {label!r}; labels must be integers")
        by_class.setdefault(label, []).append(index)

    generator = random.Random(seed)
    subset: list[int] = []
    for indices in by_class.values():
        subset += generator.sample(indices, shots) if len(indices) >= shots else indices
    return subset


def hold_back(labels: Sequence[int], seed: int) -> list[int]:
    """Return indices of a quarter of each class's examples, at least one, drawn with `seed`.

    Nothing is held back of a class with a single example.
    """
    by_class: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        by_class.setdefault(label, []).append(index)
    generator = random.Random(seed)
    held_back: list[int] = []
    for indices in by_class.values():
        held_back += generator.sample(indices, a_quarter(len(indices)))
    return sorted(held_back)


def a_quarter(images: int) -> int:
    """Return how many of a class's images are kept from training: one at least, none of one."""
    return max(1, images // 4) if images > 1 else 0


def base_novel_split(num_classes: int) -> tuple[list[int], list[int]]:
    """Return the labels of the base and the novel classes: the first ceil(n / 2), and the rest.

    Raises:
        ValueError: fewer than two classes, so that there would be no novel ones.
    """
    num_classes = _whole_number("num_classes", num_classes, minimum=2)
    num_base = (num_classes + 1) // 2
    return list(range(num_base)), list(range(num_base, num_classes))


def _whole_number(name: str, value: int, minimum: int) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {minimum}")
    return operator.index(value)
