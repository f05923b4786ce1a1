"""A look at every image file before long work begins: all that cannot be read, listed at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..utils.progress import Progress
from ..utils.text import listing
from .example import Example, ShardImage
from .image_file import decode_image, image_size

_HEAD = 1 << 16
"""Bytes of a shard's image that are read at first; nearly every header ends before."""
_ENDS = (
    (b"\xff\xd8", b"\xff\xd9"),  # JPEG
    (b"\x89PNG", b"IEND\xaeB`\x82"),
    (b"RIFF", b""),  # WebP: opening it fails where it is cut
)
"""First and last bytes of whole files. Others may be whole as well: those are decoded."""
_THREADS = 8
_SHOWN = 10


def require_readable(examples: Sequence[Example], *, quiet: bool = False) -> None:
    """Look at the header of every image file and image in a shard, and at its end.

    Those that do not end as whole ones do are decoded; the others cost a few short reads.

    Raises:
        ValueError: some cannot be read; the message lists them with their reasons.
    """
    files = list(
        {str(e.image): e.image for e in examples if isinstance(e.image, Path | ShardImage)}.values()
    )
    problems = []
    with (
        ThreadPoolExecutor(_THREADS) as pool,
        Progress("checking images", len(files), quiet=quiet) as progress,
    ):
        try:
            for image, problem in zip(files, pool.map(_problem, files), strict=True):
                progress.advance(1, images=1)
                if problem:
                    problems.append(f"{image} ({problem})")
        except BaseException:  # Ctrl-C must not wait for all that are queued
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(files)} images cannot be read: {listing(problems, _SHOWN)}. "
            "Replace them, or remove them from the data set."
        )


def _problem(image: Path | ShardImage) -> str:
    """Return why an image cannot be read, as far as its header and its end tell, or ""."""
    try:
        if isinstance(image, ShardImage):
            _check_in_shard(image)
        elif not image.is_file():
            return "it is not a file" if image.exists() else "it does not exist"
        else:
            image_size(image)
            _check_end(image, image, 0, image.stat().st_size)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _check_in_shard(image: ShardImage) -> None:
    try:
        image_size(image.read(_HEAD))
    except ValueError:
        image_size(image.read())
    _check_end(image, image.shard, image.offset, image.size)


def _check_end(image: Path | ShardImage, path: Path, offset: int, size: int) -> None:
    """Decode an image whose file does not begin and end like a whole one."""
    with path.open("rb") as file:
        file.seek(offset)
        start = file.read(4)
        file.seek(offset + max(0, size - 8))
        end = file.read(min(size, 8))
    if not any(start.startswith(first) and end.endswith(last) for first, last in _ENDS):
        decode_image(image if isinstance(image, Path) else image.read())
