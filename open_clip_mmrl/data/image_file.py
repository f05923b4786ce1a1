"""Image files of any usual kind as RGB pixels: the one place that decodes them.

Pillow chooses a decoder by content, whatever the file is called, and some of its decoders start
programs (PostScript starts Ghostscript). So only the raster formats below are ever tried.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF",
)  # fmt: skip
"""Pillow's names of what is read: AVIF where Pillow has it, HEIF where pillow-heif is installed."""

SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib",
        ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpc", ".jpx", ".avif",
        ".avifs", ".heic", ".heif",
    }
)  # fmt: skip
"""File name suffixes of these formats, in lower case."""

MAX_PIXELS = 178_956_970
"""Larger images are refused: 0.5 GB in RGB. It is Pillow's own limit for decompression bombs."""

MAX_BYTES = 2**31
"""Larger files are refused: some decoders read the whole file into memory."""

MAX_RATIO = 200
"""Longer strips are refused: a model's input is cut out of the image with its shorter side resized,
which for 2 x 20,000 pixels takes 2 GB."""

_MAX_READS = 100_000
"""Plus one for every 256 bytes. More, and the file is a chain of tiny blocks, which takes long."""

_HELP = "convert it to an 8-bit PNG or JPEG"

_REFUSED = {
    b"%!": "PostScript, which is never opened",
    b"\xc5\xd0\xd3\xc6": "PostScript, which is never opened",
    b"%PDF": "a PDF, which is never opened",
    b"\xd7\xcd\xc6\x9a": "a Windows metafile, which is never opened",
    b"<svg": "a drawing in SVG",
    b"8BPS": "a Photoshop document",
}
"""First bytes of other things that people name like images."""


def decode_image(source: Path | bytes, *, upright: bool = False) -> Image.Image:
    """Return an image file in RGB, at its own size; of an animation, the first frame.

    Args:
        source: a file's path, or its content.
        upright: apply the orientation noted in EXIF, as cameras and phones write it.

    Raises:
        ValueError: not one of `FORMATS`, damaged, too large, or with pixels of no agreed range
            (see `to_rgb`). The message gives the reason; the caller names the file.
    """
    with _opened(source) as image:
        return to_rgb(image, upright=upright)


def image_size(source: Path | bytes) -> tuple[int, int]:
    """Return width and height from an image file's header; no pixel is decoded.

    Raises:
        ValueError: as `decode_image`, as far as the header tells.
    """
    with _opened(source) as image:
        _require_range(image)
        return image.size


def plain_format(source: Path | bytes, *, upright: bool = False) -> str | None:
    """Return the file's format, if readers that only convert to RGB get the same pixels."""
    with _opened(source) as image:
        turned = upright and _orientation(image) not in (None, 1)
        special = image.mode.startswith("I") or image.has_transparency_data or turned
        return None if special else image.format


def is_turned(source: Path | bytes) -> bool:
    """Return whether `upright` changes the image, by the orientation that a camera noted."""
    with _opened(source) as image:
        return _orientation(image) not in (None, 1)


def is_image(path: Path) -> bool:
    """Return whether the file's first bytes are those of an image that can be read."""
    try:
        image_size(path)
    except ValueError:
        return False
    return True


def to_rgb(image: Image.Image, *, upright: bool = False) -> Image.Image:
    """Return a Pillow image in RGB.

    16-bit grayscale is scaled linearly (65535 becomes 255); transparency is laid on white.

    Args:
        image: any Pillow image.
        upright: apply the orientation noted in EXIF.

    Raises:
        ValueError: pixels are floats or 32-bit integers, whose black and white nobody knows.
    """
    rgb = _in_rgb(image)
    # After the pixels: for some formats Pillow turns the image while it decodes.
    return _turned(rgb, _orientation(image)) if upright else rgb


def _in_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    _require_range(image)
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.uint32)
        gray = _scaled(values, getattr(image, "tag_v2", {}))
        key = image.info.get("transparency")
        if isinstance(key, int):
            gray[values == key] = 255
        return Image.fromarray(gray).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _scaled(values: np.ndarray, tags: Mapping[int, Any]) -> np.ndarray:
    """Return 16-bit grayscale as 8 bits; Pillow leaves two notes of TIFF files to us."""
    bits, white_is_zero = tags.get(258, (16,))[0], tags.get(262) == 0
    high = 2**bits - 1
    gray = ((values * 255 + high // 2) // high).clip(0, 255).astype(np.uint8)
    return 255 - gray if white_is_zero else gray


def _orientation(image: Image.Image) -> object:
    """Return EXIF's orientation; None without one, or where the block is damaged."""
    try:
        return image.getexif().get(0x0112)
    except Exception:  # the pixels are whole all the same
        return None


def _turned(image: Image.Image, orientation: object) -> Image.Image:
    """Undo the orientation that a camera noted."""
    from PIL.Image import Transpose

    methods = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    method = methods.get(orientation) if isinstance(orientation, int) else None
    if method is None:
        return image
    turned = image.transpose(method)
    for name in ("exif", "xmp"):  # or whoever saves it notes the orientation again
        turned.info.pop(name, None)
    return turned


@contextmanager
def _opened(source: Path | bytes) -> Iterator[Image.Image]:
    """Open an image; whatever its decoder raises becomes a ValueError with the reason."""
    from PIL import Image, UnidentifiedImageError

    try:
        with (
            _BoundedStream(source) as stream,
            Image.open(stream, formats=_available_formats()) as image,
        ):
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _RefusedError(
                    f"{width} x {height} pixels are more than the {MAX_PIXELS} allowed"
                )
            if max(image.size) > MAX_RATIO * min(image.size):
                raise _RefusedError(
                    f"{width} x {height} pixels: a side is more than {MAX_RATIO:,} times the "
                    "other; crop it"
                )
            yield image
    except _RefusedError as reason:
        raise ValueError(str(reason)) from None
    except UnidentifiedImageError:
        raise ValueError(_what_it_is(source)) from None
    except Exception as error:  # what a damaged file raises depends on its format
        raise ValueError(str(error) or type(error).__name__) from error


class _BoundedStream(io.BufferedReader):
    """A file of bounded size that is read a bounded number of times."""

    def __init__(self, source: Path | bytes) -> None:
        raw = io.BytesIO(source) if isinstance(source, bytes) else io.FileIO(source)
        # A BytesIO has all that is read through here.
        super().__init__(cast("io.RawIOBase", raw))
        size = self.seek(0, io.SEEK_END)
        self.seek(0)
        if size > MAX_BYTES:
            raise _RefusedError(f"{size:,} bytes are more than the {MAX_BYTES:,} allowed")
        self._reads_left = _MAX_READS + size // 256

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes."""
        self._reads_left -= 1
        if self._reads_left < 0:
            raise _RefusedError("it has too many tiny parts, which would take long to read")
        return super().read(size)


class _RefusedError(ValueError):
    """A reason of our own to refuse an image."""


def _require_range(image: Image.Image) -> None:
    """Refuse pixels without an agreed black and white, and what only a program can draw."""
    if image.format in ("EPS", "WMF"):  # opened by others; they are drawn as they are read
        raise _RefusedError(f"{image.format}, which is never drawn: {_HELP}")
    # Older Pillows read 16-bit PNG and PGM files as 32-bit integers.
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        kind = "floats" if image.mode == "F" else "32-bit or signed integers"
        raise _RefusedError(f"its pixels are {kind}, whose black and white nobody knows: {_HELP}")


def _what_it_is(source: Path | bytes) -> str:
    """Say why nothing could open a file."""
    if isinstance(source, bytes):
        start = source[:512]
    else:
        with source.open("rb") as file:
            start = file.read(512)
    if not start:
        return "the file is empty"
    kinds = (name for magic, name in _REFUSED.items() if start.startswith(magic))
    kind = next(kinds, "not an image, or of a format that is not read")
    return f"{kind}: {_HELP}"


@cache
def _available_formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this installation decodes.

    From the first call on Pillow's warnings are not shown: it writes one for every damaged tag. A
    filter for the time of a call would not be safe with threads.
    """
    from PIL import Image

    warnings.filterwarnings("ignore", module=r"PIL\.")

    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        pass
    else:
        register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
