"""Every kind of image file that people have, and what may not be opened."""

import io
import shutil
import struct
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from open_clip_mmrl.data import image_file
from open_clip_mmrl.data.image_file import (
    MAX_PIXELS,
    decode_image,
    image_size,
    is_image,
    plain_format,
    to_rgb,
)

GRAY = np.random.default_rng(0).integers(0, 256, (8, 12), dtype=np.uint8)
"""Not square, and unlike each of its turned or mirrored versions."""


def encoded(image, kind, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def wide(values, kind) -> bytes:
    """A 16-bit grayscale file; older Pillows do not write PGM."""
    if kind != "PPM":
        return encoded(Image.fromarray(values), kind)
    return (
        f"P5\n{values.shape[1]} {values.shape[0]}\n65535\n".encode()
        + values.astype(">u2").tobytes()
    )


def png_chunk(kind, content):
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def pixels(image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def as_rgb(gray) -> np.ndarray:
    return np.repeat(gray[:, :, None], 3, axis=2).astype(int)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "PPM", "WEBP", "JPEG2000"])
def test_lossless_formats_give_the_same_pixels(kind):
    if kind == "JPEG2000" and not features.check("jpg_2000"):
        pytest.skip("this Pillow has no JPEG 2000")
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(Image.fromarray(GRAY).convert("RGB"), kind, **options)
    assert np.array_equal(pixels(decode_image(content)), as_rgb(GRAY))
    assert image_size(content) == (12, 8)


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "AVIF"])
def test_lossy_formats_are_read(kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    found = pixels(decode_image(encoded(Image.fromarray(smooth).convert("RGB"), kind)))
    assert np.abs(found - as_rgb(smooth)).max() <= 8


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grayscale_is_scaled_linearly(kind):
    assert np.array_equal(
        pixels(decode_image(wide(GRAY.astype(np.uint16) * 257, kind))), as_rgb(GRAY)
    )
    ends = np.array([[0, 128, 129, 65535]], dtype=np.uint16)
    assert pixels(decode_image(wide(ends, kind)))[0, :, 0].tolist() == [0, 0, 1, 255]


def tiff(data, bits, white_is_zero=False) -> bytes:
    """Grayscale of GRAY's size, as other programs write it."""
    height, width = GRAY.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: int(not white_is_zero), 273: 122}
    tags |= {277: 1, 278: height, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def test_tiff_of_12_bits_and_with_white_as_zero():
    sixteen = GRAY.astype(np.uint16) * 257
    for found in (tiff(sixteen.tobytes(), 16), tiff((65535 - sixteen).tobytes(), 16, True)):
        assert np.array_equal(pixels(decode_image(found)), as_rgb(GRAY))
    twelve = (GRAY.astype(int) * 4095 + 127) // 255
    digits = "".join(f"{value:03x}" for value in twelve.ravel())
    assert np.array_equal(pixels(decode_image(tiff(bytes.fromhex(digits), 12))), as_rgb(GRAY))


@pytest.mark.parametrize(
    ("array", "named"), [(GRAY / 255.0, "floats"), (GRAY.astype(np.int32) * 1000, "32-bit")]
)
def test_pixels_without_an_agreed_range_are_refused_with_the_remedy(array, named):
    image = Image.fromarray(array.astype(np.float32) if named == "floats" else array)
    content = encoded(image, "TIFF")
    for read in (decode_image, image_size):
        with pytest.raises(ValueError, match=f"{named}.*8-bit PNG"):
            read(content)
    with pytest.raises(ValueError, match=named):
        to_rgb(image)


def test_transparency_is_laid_on_white():
    alpha = np.uint8([[0, 255, 51]])
    black = np.zeros((1, 3), dtype=np.uint8)
    letter = Image.fromarray(np.dstack([black, black, black, alpha]))
    for kind in ("PNG", "WEBP", "TIFF"):
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        found = pixels(decode_image(encoded(letter, kind, **options)))
        assert found[0, :, 0].tolist() == [255, 0, 204], kind
    two = Image.fromarray(np.dstack([black, alpha]), "LA")
    assert pixels(decode_image(encoded(two, "PNG")))[0, :, 0].tolist() == [255, 0, 204]


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16"])
def test_a_transparent_color_is_white_too(mode):
    if mode == "I;16":
        content = wide(np.uint16([[0, 5000]]), "PNG")
        content = content[:33] + png_chunk(b"tRNS", b"\0\0") + content[33:]
    else:
        image = Image.fromarray(np.uint8([[0, 200]])).convert(mode)
        key = (0, 0, 0) if mode == "RGB" else image.getpixel((0, 0))
        content = encoded(image, "PNG", transparency=key)
    found = pixels(decode_image(content))
    assert found[0, 0].tolist() == [255, 255, 255] and found[0, 1, 0] < 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_camera_s_orientation_is_applied_when_asked(orientation, kind):
    turned = {
        1: GRAY, 2: GRAY[:, ::-1], 3: GRAY[::-1, ::-1], 4: GRAY[::-1], 5: GRAY.T,
        6: np.rot90(GRAY, -1), 7: np.rot90(GRAY, 2).T, 8: np.rot90(GRAY),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(Image.fromarray(GRAY).convert("RGB"), kind, exif=exif, **options)
    assert np.array_equal(pixels(decode_image(content, upright=True)), as_rgb(turned))
    if kind != "TIFF":  # Pillow itself turns these
        assert np.array_equal(pixels(decode_image(content)), as_rgb(GRAY))


@pytest.mark.parametrize("orientation", [0, 9, None])
def test_an_orientation_that_means_nothing_is_ignored(orientation):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    damaged = b"Exif\x00\x00nonsense"
    content = encoded(Image.fromarray(GRAY), "PNG", exif=damaged if orientation is None else exif)
    assert np.array_equal(pixels(decode_image(content, upright=True)), as_rgb(GRAY))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_read(kind):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert pixels(decode_image(content))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["1", "CMYK", "LAB"])
def test_other_color_models_are_converted(mode):
    kind = "PNG" if mode == "1" else "TIFF"
    source = Image.fromarray(as_rgb(GRAY).astype(np.uint8))
    image = source.convert(mode) if mode != "LAB" else Image.new("LAB", (12, 8))
    assert decode_image(encoded(image, kind)).size == (12, 8)


# What is never opened.

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n%%EOF\n"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (EPS, "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), "PostScript"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "metafile"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"hello", "not an image"),
        (b"", "empty"),
    ],
)
def test_what_is_no_raster_image_is_refused_by_name(tmp_path, monkeypatch, content, named):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a program was started"))
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    for source in (content, path):
        for read in (decode_image, image_size):
            with pytest.raises(ValueError, match=named):
                read(source)
    assert not is_image(path)


@pytest.mark.skipif(shutil.which("gs") is None, reason="Ghostscript is not installed")
def test_postscript_would_start_a_program_if_pillow_chose():
    """The reason for the list of formats; also a check that the case above is a real one."""
    assert Image.open(io.BytesIO(EPS)).format == "EPS"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_a_damaged_file_is_a_value_error(kind):
    content = encoded(Image.fromarray(np.tile(GRAY, (8, 8))).convert("RGB"), kind)
    for cut in (10, len(content) // 2):
        with pytest.raises(ValueError, match=r"\w"):
            decode_image(content[:cut])


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it can still read
def test_bytes_flipped_at_random_never_raise_anything_else():
    generator = np.random.default_rng(1)
    kinds = ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM"]
    contents = [encoded(Image.fromarray(GRAY).convert("RGB"), kind) for kind in kinds]
    for content in contents:
        for _ in range(60):
            broken = np.frombuffer(content, np.uint8).copy()
            where = generator.integers(0, len(broken), 3)
            broken[where] = generator.integers(0, 256, 3)
            with suppress(ValueError):
                assert decode_image(broken.tobytes(), upright=True).mode == "RGB"


def test_a_huge_image_is_refused_by_its_header():
    side = int(MAX_PIXELS**0.5) + 1
    header = f"P5\n{side} {side}\n255\n".encode()
    with pytest.raises(ValueError, match=f"{side} x {side}|{MAX_PIXELS}"):
        image_size(header)


@pytest.mark.parametrize(("width", "height"), [(2, 20_000), (401, 2)])
def test_a_strip_that_would_be_resized_to_gigabytes_is_refused_by_its_header(width, height):
    with pytest.raises(ValueError, match=f"{width} x {height} pixels.* 200 times.*crop it"):
        image_size(f"P5\n{width} {height}\n255\n".encode())
    assert image_size(b"P5\n400 2\n255\n") == (400, 2)


def in_time(read, content):
    """Read, or refuse, within a second."""
    start = time.perf_counter()
    with suppress(ValueError):
        read(content)
    return time.perf_counter() - start < 1


@pytest.mark.parametrize("read", [decode_image, image_size])
def test_endless_animations_and_headers_take_no_time(read):
    small = Image.fromarray(GRAY).convert("RGB")
    gif, png, tiff = (encoded(small, kind) for kind in ("GIF", "PNG", "TIFF"))
    start, frame = gif[: gif.index(b",\0\0\0\0")], gif[gif.index(b",\0\0\0\0") : -1]
    assert in_time(read, start + frame * 300_000 + b";")
    assert in_time(read, start + b"\x21\xff\x01a\0" * 500_000 + frame + b";")
    header, rest = png[:33], png[33:]
    bomb = zlib.compress(bytes(10**7))
    for chunks in (
        png_chunk(b"zTXt", b"k\0\0" + bomb),
        png_chunk(b"iCCP", b"k\0\0" + bomb),
        png_chunk(b"acTL", struct.pack(">II", 10**6, 0)),
        png_chunk(b"abCd", b"") * 500_000,
    ):
        assert in_time(read, header + chunks + rest)
    assert in_time(read, header + rest[:-12] + png_chunk(b"abCd", b"") * 500_000)
    loop = bytearray(tiff)
    first = int.from_bytes(tiff[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(tiff[first : first + 2], "little")
    loop[end : end + 4] = tiff[4:8]  # the next directory is the same one
    assert in_time(read, bytes(loop)) and decode_image(bytes(loop)).size == (12, 8)


def test_a_file_of_gigabytes_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(image_file, "MAX_BYTES", 100)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.fromarray(GRAY), "PNG"))
    with pytest.raises(ValueError, match="bytes are more than the 100 allowed"):
        image_size(path)


def test_plain_files_are_those_that_any_reader_sees_alike():
    rgb = Image.fromarray(GRAY).convert("RGB")
    assert plain_format(encoded(rgb, "PNG")) == "PNG"
    assert plain_format(encoded(rgb, "JPEG"), upright=True) == "JPEG"
    assert plain_format(encoded(rgb.convert("RGBA"), "PNG")) is None
    assert plain_format(encoded(Image.fromarray(GRAY.astype(np.uint16)), "PNG")) is None
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = encoded(rgb, "JPEG", exif=exif)
    assert plain_format(turned) == "JPEG" and plain_format(turned, upright=True) is None


def test_damaged_metadata_does_not_flood_the_terminal(tmp_path):
    """In a process of its own: pytest has filters of its own."""
    tiff = bytearray(encoded(Image.fromarray(GRAY), "TIFF"))
    first = int.from_bytes(tiff[4:8], "little")
    tiff[first + 2 + 12 * 5 + 4] = 255  # one of the tags has too many values
    (tmp_path / "a.tif").write_bytes(tiff)
    code = f"""
import contextlib, pathlib
from open_clip_mmrl.data.image_file import decode_image
with contextlib.suppress(ValueError):
    decode_image(pathlib.Path({str(tmp_path / "a.tif")!r}))
"""
    quiet = "from PIL import Image; Image.open(__import__('sys').argv[1]).load()"
    for script, warns in ((code, False), (quiet, True)):
        command = [sys.executable, "-c", script, str(tmp_path / "a.tif")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ("Warning" in done.stderr) == warns


def test_a_file_without_suffix_is_known_by_its_content(tmp_path):
    path = tmp_path / "scan"
    path.write_bytes(encoded(Image.fromarray(GRAY), "PNG"))
    assert is_image(path) and np.array_equal(pixels(decode_image(path)), as_rgb(GRAY))


def test_the_path_of_a_missing_file_is_kept_in_the_reason(tmp_path):
    with pytest.raises(ValueError, match="gone"):
        decode_image(Path(tmp_path / "gone.png"))
