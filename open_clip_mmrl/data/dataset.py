"""What every reader returns: labeled images in three splits, class names and a prompt template.

A reader is a function that returns an `ImageData`; `load_data` picks it by the prefix of the data
spec. A reader only finds out which images there are: pixels are read later, by `read_image`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal, cast

from ..config import Shots
from ..utils.text import listing
from .example import Example
from .more_prompts import MorePrompts, require_prompts
from .prompts import parse_template, readable
from .sampling import base_novel_split, few_shot_subset
from .test_split import DrawnSplit

Classes = Literal["all", "base", "novel"]
SPLITS = ("train", "val", "test")
"""The fields of `ImageData` that hold examples."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageData:
    """A data set for classification. Any split may be empty; labels index `class_names`.

    Attributes:
        spec: where it comes from, as given to `load_data`.
        class_names: one name per label, all different in a prompt.
        template: the prompt, with `{}` for the class name (`[CLASS]` is converted).
        train, val, test: the three splits, in the source's order.
        classes: which classes these are: "all", or those that `select` kept.
        own_template: whether the template was written for this data set, or is the general one.
        drawn: the split that was drawn where the source has none; None for those that have.
        prompts: what is written for classes besides the template.

    Raises:
        ValueError: fewer than two classes, a class name that repeats, a label out of range, or a
            template without a place for the class name.

    Example:
        >>> from open_clip_mmrl.data import load_data
        >>> base = load_data("digits").few_shot(shots=16, seed=1).select("base")
        >>> base.class_names, len(base.train)
        (('zero', 'one', 'two', 'three', 'four'), 80)
    """

    spec: str
    class_names: tuple[str, ...]
    template: str
    train: tuple[Example, ...]
    val: tuple[Example, ...]
    test: tuple[Example, ...]
    classes: Classes = "all"
    own_template: bool = True
    drawn: DrawnSplit | None = None
    prompts: MorePrompts | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "template", parse_template(self.template))
        if self.num_classes < 2:
            raise ValueError(
                f"{self.spec}: classes: {listing(self.class_names) or 'none'}; "
                "a classification needs at least two"
            )
        for name in self.class_names:
            _require_text(name, self.spec)
        counts = Counter(readable(name) for name in self.class_names)
        repeated = [name for name, count in counts.items() if count > 1]
        if repeated:  # two classes with one prompt always get the same logit
            raise ValueError(
                f"{self.spec}: class names repeated: {listing(repeated)}; "
                "each class needs a name of its own ('_' counts as a space)"
            )
        for split in SPLITS:
            for index, example in enumerate(self.split(split)):
                if not 0 <= example.label < self.num_classes:
                    raise ValueError(
                        f"{self.spec}: {split}[{index}] has label {example.label}; with "
                        f"{self.num_classes} classes labels are 0 to {self.num_classes - 1}"
                    )

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    def split(self, name: str) -> tuple[Example, ...]:
        """Return the examples of one of `SPLITS`."""
        return cast(tuple[Example, ...], getattr(self, name))

    def few_shot(self, shots: Shots, seed: int) -> ImageData:
        """Return the same data with `train` cut to `shots` images per class, or "all" of them.

        See `few_shot_subset` for the draw.

        Raises:
            ValueError: there are no training images, or `select` came first: the draw is over all
                classes, so after `select` it would pick other images.
        """
        self._require_all_classes("few_shot", "call few_shot first, then select")
        if not self.train:
            raise ValueError(f"{self.spec}: no training images to draw from; it can only be tested")
        subset = few_shot_subset([example.label for example in self.train], shots, seed)
        return replace(self, train=tuple(self.train[index] for index in subset))

    def select(self, classes: Classes) -> ImageData:
        """Return the base or the novel classes alone, labels from 0 again; "all" changes nothing.

        Raises:
            ValueError: another word, a result of one class, or `select` was called before.
        """
        if classes == "all":
            return self
        if classes not in ("base", "novel"):
            raise ValueError(f"classes is {classes!r}; choose from all, base, novel")
        self._require_all_classes(f"select({classes!r})", "select from the whole data set")
        base, novel = base_novel_split(self.num_classes)
        kept = base if classes == "base" else novel
        if len(kept) < 2:
            raise ValueError(
                f"{self.spec}: of {self.num_classes} classes, {len(kept)} is {classes}; "
                "base and novel classes of at least two each need four"
            )
        new_label = {label: index for index, label in enumerate(kept)}

        def keep(examples: tuple[Example, ...]) -> tuple[Example, ...]:
            return tuple(
                replace(example, label=new_label[example.label])
                for example in examples
                if example.label in new_label
            )

        return replace(
            self,
            class_names=tuple(self.class_names[label] for label in kept),
            train=keep(self.train),
            val=keep(self.val),
            test=keep(self.test),
            classes=classes,
        )

    def with_template(self, template: str) -> ImageData:
        """Return the same data with another prompt; ValueError if it has no place for the name."""
        return replace(self, template=template, own_template=True)

    def with_prompts(self, prompts: MorePrompts | None) -> ImageData:
        """Return the same data with more prompts; UsageError where a class has none of its own."""
        require_prompts(prompts, self.class_names)
        return replace(self, prompts=prompts)

    def shortfall(self, shots: Shots) -> dict[str, int]:
        """Return the number of training images of each class that has fewer than `shots`."""
        if shots == "all":
            return {}
        counts = Counter(example.label for example in self.train)
        short = (label for label in range(self.num_classes) if counts[label] < shots)
        return {self.class_names[label]: counts[label] for label in short}

    def _require_all_classes(self, call: str, remedy: str) -> None:
        if self.classes != "all":
            raise ValueError(
                f"{self.spec}: {call} on the {self.classes} classes; {remedy}, "
                "since the protocol draws from all classes and divides them once"
            )


def _require_text(class_name: str, spec: str) -> None:
    """Refuse a class name that no tokenizer takes, or that says nothing."""
    if not readable(class_name).strip():
        raise ValueError(f"{spec}: a class has the name {class_name!r}, which is empty")
    try:
        class_name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{spec}: class name {class_name!r} is not text in Unicode") from error


def dataset_name(spec: str) -> str:
    """Return the short name of a data set: "dtd" of "coop:dtd", "birds" of "folder:/a/birds"."""
    argument = spec.rpartition(":")[2] if "://" not in spec else spec
    return PurePosixPath(argument.replace("\\", "/")).name or argument
