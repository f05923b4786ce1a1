"""A test split for class folders that come without one, drawn the same way everywhere.

Which side an image is on follows from a hash of its path below the folder, so that it depends on no
run, machine or place, and a new file moves few others. Copies of one image stay on one side.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..utils.json_fields import Content, optional, required, required_number
from ..utils.text import counted, listing, nfc
from .copies import (
    Images,
    content_digest,
    file_size,
    first_copies,
    in_several_classes,
    warn_of_copies,
)

logger = logging.getLogger(__name__)

SPLIT_FILE = "split.json"
"""In a run's folder, next to its adapter."""
TEST_FRACTION = 0.2
_SEED = 1
_SAMPLES = 64
_FEW = 4
"""Files named in a warning."""
_LONG = 20
"""Classes named in an error."""


@dataclass(frozen=True, kw_only=True)
class DrawnSplit:
    """What an adapter and its run keep of the split that they were trained with.

    Attributes:
        test_fraction: share of each class's images that is for testing.
        seed: of the hashes that draw.
        digest: of the paths of all training images.
        samples: size in bytes and digest of some training images, by which their folder is known.
        train: paths from the folder of the class folders on; empty in an adapter's header.
        test: those of the test images.
    """

    test_fraction: float
    seed: int
    digest: str
    samples: tuple[tuple[int, str], ...]
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    def header(self) -> dict[str, Any]:
        """Return what an adapter's header holds: all but the lists of paths."""
        return {key: value for key, value in self.to_json().items() if key not in ("train", "test")}

    def to_json(self) -> dict[str, Any]:
        """Return the content of `split.json`."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self).items()}

    @classmethod
    def from_json(cls, content: Content) -> DrawnSplit:
        """Read the content of `split.json`, or what a header holds; ValueError if it is neither."""
        samples = content.get("samples")
        if not isinstance(samples, list) or not all(map(_is_sample, samples)):
            raise ValueError("'samples' is no list of sizes and digests")
        paths = {}
        for key in ("train", "test"):
            paths[key] = content.get(key, [])
            if not isinstance(paths[key], list) or not all(isinstance(p, str) for p in paths[key]):
                raise ValueError(f"{key!r} is no list of paths")
        return cls(
            test_fraction=checked_fraction(required_number(content, "test_fraction")),
            seed=optional(content, "seed", int) or 0,
            digest=required(content, "digest", str),
            samples=tuple((size, digest) for size, digest in samples),
            train=tuple(paths["train"]),
            test=tuple(paths["test"]),
        )


def checked_fraction(value: float) -> float:
    """Return a test fraction; a UsageError unless it is between 0 and 1."""
    if not 0 < value < 1:
        raise UsageError(
            f"test_fraction is {value}; it has to be above 0 and below 1, as in 0.2 for a fifth of "
            "each class's images."
        )
    return value


def draw_split(
    root: Path, images: Images, test_fraction: float = TEST_FRACTION, seed: int = _SEED
) -> DrawnSplit:
    """Draw the test images of every class, one at least.

    Of each class those with the lowest hashes of seed and path. An image that is in two classes
    is never tested: nobody knows its label.

    Args:
        root: the folder that the paths begin in.
        images: the paths by class folder.
        test_fraction: share of each class's images, rounded.
        seed: of the hashes.

    Raises:
        ValueError: classes without a second image that differs; the message lists all of them.
    """
    first = first_copies(root, [path for paths in images.values() for path in paths])
    disputed = in_several_classes(images, first)
    test: set[str] = set()
    short = []
    for name, paths in images.items():
        drawn = _draw_class(paths, first, disputed, test_fraction, seed)
        if not drawn:
            alike = ", none of them its own" if len(paths) > 1 else ""
            short.append(f"{name} ({counted(len(paths), 'image')}{alike})")
        test.update(drawn)
    if short:
        raise ValueError(
            f"{root}: each class needs two different images, one to train on and one to test; "
            f"these have not: {listing(short, _LONG)}. Add images, remove these folders, or divide "
            "the images into train/ and test/ yourself."
        )
    warn_of_copies(root, first, disputed)
    train = [path for paths in images.values() for path in paths if path not in test]
    return DrawnSplit(
        test_fraction=test_fraction,
        seed=seed,
        digest=_digest(train),
        samples=tuple(_samples(root, train, seed)),
        train=tuple(train),
        test=tuple(path for paths in images.values() for path in paths if path in test),
    )


def test_part(root: Path, images: Images, split: DrawnSplit | None) -> set[str]:
    """Return the images that an adapter may be scored on: none that it was trained on.

    Args:
        root: the folder that the paths begin in.
        images: the paths by class folder.
        split: of the adapter's training; None where it had none.

    Returns:
        All, where none of the training images is here. Otherwise the test images of the split, as
        it lists them or, without lists, as it is drawn again.

    Raises:
        ValueError: the images have changed, so that nobody knows which were trained on.
    """
    every = [path for paths in images.values() for path in paths]
    trained_on = _found_again(root, every, split.samples) if split else set()
    if split is None or not trained_on:
        logger.info(
            "%s: all %s are scored; the adapter was not trained on a split of this folder.",
            root, counted(len(every), "image"),
        )  # fmt: skip
        return set(every)
    if split.test:
        test = _listed(root, every, split)
    else:
        again = draw_split(root, images, split.test_fraction, split.seed)
        if again.digest != split.digest:
            raise ValueError(
                f"{root} holds images that the adapter was trained on, and has changed since, so "
                f"that nobody knows which. Put the run's {SPLIT_FILE} next to the "
                "adapter, or score images in another folder."
            )
        test = set(again.test)
    if not test or trained_on & test:
        raise ValueError(
            f"{root} has changed since the training: "
            + (f"{min(trained_on & test)} was trained on" if test else "no test image is left")
            + ". Score images in another folder, or in PATH/test/<class>/."
        )
    logger.info(
        "%s: %d of %s are scored, those that were not for training.",
        root, len(test), counted(len(every), "image"),
    )  # fmt: skip
    return test


def _listed(root: Path, every: Sequence[str], split: DrawnSplit) -> set[str]:
    """Return the test images that a run lists and that are still there."""
    train, listed = set(map(nfc, split.train)), set(map(nfc, split.test))
    new = [path for path in every if nfc(path) not in train | listed]
    test = {path for path in every if nfc(path) in listed}
    if new:
        logger.warning(
            "%s: not scored: %s that came after the training and may be copies of what was "
            "trained on: %s. To score them, put them into a folder of their own.",
            root, "1 image" if len(new) == 1 else f"{len(new):,} images", listing(new, _FEW),
        )  # fmt: skip
    if len(test) < len(listed):
        logger.warning(
            "%s: %d of %d test images are gone.", root, len(listed) - len(test), len(listed)
        )
    return test


def _draw_class(
    paths: Sequence[str],
    first: Mapping[str, str],
    disputed: set[str],
    test_fraction: float,
    seed: int,
) -> list[str]:
    """Return the test images of a class; none where it has no two different images."""
    copies: dict[str, list[str]] = {}
    for path in paths:
        copies.setdefault(first.get(path, path), []).append(path)
    order = sorted((c for one, c in copies.items() if one not in disputed), key=_place(seed))
    if len(copies) < 2 or not order:
        return []
    most = max(1, int(test_fraction * len(paths) + 0.5))
    drawn: list[str] = []
    kept = len(copies) - 1  # one at least is trained on
    for same in order:
        if kept and len(drawn) + len(same) <= most:
            drawn += same
            kept -= 1
    return drawn or min(order, key=len)


def _place(seed: int) -> Any:
    """Return the key that orders groups of copies, by the path of the first."""
    return lambda paths: _hash(f"{seed} {nfc(paths[0])}".encode(errors="surrogateescape"))


def _samples(root: Path, train: Sequence[str], seed: int) -> list[tuple[int, str]]:
    """Return size and digest of the training images with the lowest hashes that can be read."""
    order = _place(seed)
    chosen = sorted(train, key=lambda path: order([path]))[:_SAMPLES]
    found = ((file_size(root / path), content_digest(root / path)) for path in chosen)
    return [(size, content[:16]) for size, content in found if size > 0 and content]


def _found_again(root: Path, paths: Sequence[str], samples: Iterable[tuple[int, str]]) -> set[str]:
    """Return the images that are among the samples."""
    wanted = set(samples)
    sizes = {size for size, _ in wanted}
    sized = ((path, file_size(root / path)) for path in paths)
    return {
        path
        for path, size in sized
        if size in sizes and (size, (content_digest(root / path) or "")[:16]) in wanted
    }


def _digest(paths: Iterable[str]) -> str:
    text = "\0".join(sorted(map(nfc, paths)))
    return _hash(text.encode(errors="surrogateescape"))[:16]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_sample(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and type(value[0]) is int
        and isinstance(value[1], str)
    )
