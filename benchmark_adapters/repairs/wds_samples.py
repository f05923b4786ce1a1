"""Samples of shards: broken images are not named, labels not checked, pickles loaded.

clip_benchmark 1.6.2 with webdataset 1.0.2: a broken image ends the evaluation in an error of Pillow
without its file; a label beyond the class names counts as wrong; and
every member of a sample is decoded, so that a `.pyd` or `.pickle` in it is unpickled. To see the
second: its `build_wds_dataset` yields a label of 77 from a folder with 10 class names.

A sample is a dict: bytes by extension, with "__key__" and "__url__", the name and the shard.
"""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from open_clip_mmrl.data.image_file import decode_image
from open_clip_mmrl.data.shards.index import IMAGES
from open_clip_mmrl.utils.text import listing

_broken: Any = None
"""Counter of skipped broken images, shared with workers; None where these are errors."""


def set_skip_broken(skip: bool) -> None:
    """Set whether data sets built from now on skip broken images, counted from 0."""
    global _broken
    # A lock of the spawn context also works in forked workers, but not the other way round.
    _broken = multiprocessing.get_context("spawn").Value("q", 0) if skip else None


def skipped() -> int:
    """Return how many broken images all workers skipped since `set_skip_broken(True)`.

    An image counts each time it is read.
    """
    return 0 if _broken is None else _broken.value


class ReadSample:
    """The last stage of the pipeline; decodes the two members that it needs.

    Args:
        transform: applied to the RGB image; None leaves it as it is.
        kind: "classification", "multilabel" or "retrieval".
        classes: names by label, which the targets have to fit; None where there are none.
    """

    def __init__(
        self,
        transform: Callable[[Image.Image], Any] | None,
        kind: str,
        classes: Sequence[str] | None,
    ) -> None:
        self.transform = transform
        self.extension, self.decode = _TARGETS[kind]
        self.classes = None if classes is None else list(classes)
        self.broken = _broken  # with the pipeline into its workers

    def stream(self, samples: Iterable[dict]) -> Iterator[tuple[Any, Any]]:
        """Yield (image, target) of every sample, without broken images if these are skipped."""
        for sample in samples:
            target, image = self._target(sample), self._image(sample)
            if image is not None:
                yield image if self.transform is None else self.transform(image), target

    def _target(self, sample: dict) -> int | np.ndarray | list[str]:
        data = sample[_first(sample, [self.extension])]
        try:
            return self.decode(data, None if self.classes is None else len(self.classes))
        except ValueError as error:
            raise ValueError(
                f"{_place(sample)}: .{self.extension} holds {plain_message(error)}"
            ) from error

    def _image(self, sample: dict) -> Image.Image | None:
        extension = _first(sample, IMAGES)
        try:
            return decode_image(sample[extension])
        except ValueError as error:
            if self.broken is not None:
                with self.broken.get_lock():
                    self.broken.value += 1
                return None
            raise ValueError(
                f"{_place(sample)}: .{extension} cannot be read ({plain_message(error)}); replace "
                "it, remove the sample, or leave broken images out with --skip_broken"
            ) from error


def _label(data: bytes, count: int | None) -> int:
    try:
        label = int(data)
    except ValueError as error:
        raise ValueError(f"{data[:40]!r}, not an integer") from error
    if label < 0 or (count is not None and label >= count):
        allowed = "labels begin at 0"
        if count is not None:
            allowed = f"with {count} class names labels are 0 to {count - 1}"
        raise ValueError(f"label {label}; {allowed}")
    return label


def _label_set(data: bytes, count: int | None) -> np.ndarray:
    labels = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    if labels.ndim != 1 or count not in (None, len(labels)):
        wanted = "class" if count is None else f"of the {count} class names"
        raise ValueError(f"an array of shape {labels.shape}, not one number for each {wanted}")
    return labels


def _captions(data: bytes, _count: int | None) -> list[str]:
    try:
        return data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"no text in UTF-8 ({error})") from error


_TARGETS = {
    "classification": ("cls", _label),
    "multilabel": ("npy", _label_set),
    "retrieval": ("txt", _captions),
}


def _first(sample: dict, extensions: Sequence[str]) -> str:
    """Return the first of `extensions` that the sample has."""
    for extension in extensions:
        if extension in sample:
            return extension
    found = listing(f".{name}" for name in sample if not name.startswith("__"))
    wanted = " or ".join(f".{extension}" for extension in extensions)
    raise ValueError(f"{_place(sample)}: no {wanted}; it has {found or 'nothing'}")


def _place(sample: dict) -> str:
    return f"{sample['__url__']}, key {sample['__key__']}"


def plain_message(error: BaseException) -> str:
    """Return an error's message in one line.

    A DataLoader puts the worker's whole traceback into its message; the last line is the error.
    """
    message = str(error).strip()
    if " in DataLoader worker process " in message:
        message = message.splitlines()[-1].partition(": ")[2]
    return " ".join(message.split())
