"""`export`: any data set of `open_clip_mmrl.data` as the shards that clip_benchmark reads.

    python -m benchmark_adapters export --data coop:dtd --data-root ROOT --output DIR

The layout is clip_benchmark's (`clip_benchmark.webdataset_builder`): train, val and test with
`nshards.txt` and `0.tar`, `1.tar`, ..., then `classnames.txt` and
`zeroshot_classification_templates.txt`. Labels and order are kept, and the same data set gives the
same bytes.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from PIL import Image

from open_clip_mmrl.data import Example, FolderOptions, ImageData, load_data, read_image
from open_clip_mmrl.data.example import ShardImage
from open_clip_mmrl.data.image_file import plain_format
from open_clip_mmrl.data.load import read_names
from open_clip_mmrl.data.prompts import readable
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.utils.files import new_folder, refuse_existing, write_atomically
from open_clip_mmrl.utils.progress import Progress
from open_clip_mmrl.utils.text import counted, listing, printable

SPLITS = ("train", "val", "test")
MAX_COUNT = 10_000
MAX_BYTES = 1e9
"""Per shard, as in clip_benchmark's own converter."""

_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}
"""Pillow's formats that clip_benchmark reads, and its suffixes of them."""
_SAVE: dict[str, dict[str, Any]] = {
    "webp": {"format": "webp", "lossless": True},
    "png": {"format": "png"},
    "jpg": {"format": "jpeg", "quality": 95},
}
FORMATS = ("keep", *_SAVE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument_group("Data").add_argument
    what = "a data set, as open-clip-mmrl's --data takes it"
    add("--data", metavar="SPEC", required=True, help=what)
    what = "folder of the coop: and clip_benchmark: data sets"
    add("--data-root", metavar="PATH", help=what)
    what = "class names for folders, as of open-clip-mmrl train"
    add("--class-names", metavar="FILE", help=what)
    what = "take each folder that holds images as a class, however deep it lies"
    add("--nested", action="store_true", help=what)
    what = 'the prompt, {} for the class name: "a photo of a {}."'
    add("--template", metavar="TEXT", help=what)
    add = parser.add_argument_group("Output").add_argument
    what = "folder of this one data set; must not exist yet"
    add("--output", metavar="PATH", required=True, help=what)
    add(
        "--image-format",
        metavar="NAME",
        default="keep",
        help="keep (default): jpg, png and webp files byte for byte, except those with "
        "transparency, 16 bits or a camera's orientation; these and anything else as png; or all "
        "as webp (lossless), png, or jpg (lossy)",
    )
    what = f"images per shard; default: {MAX_COUNT:,}"
    add("--max-count", metavar="N", type=int, default=MAX_COUNT, help=what)
    add("--quiet", action="store_true", help="no progress bar")


def main(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    output = Path(args.output)
    refuse_existing(output)
    names = read_names(args.data, args.class_names, nested=args.nested)
    folder = FolderOptions(nested=args.nested, class_names=names)
    data = load_data(args.data, data_root=args.data_root, template=args.template, folder=folder)
    shards = export(
        data,
        args.output,
        image_format=args.image_format,
        max_count=args.max_count,
        quiet=args.quiet,
    )
    for split, count in shards.items():
        images = len(getattr(data, split))
        print(f"{split}: {counted(images, 'image')} in {counted(count, 'shard')}")
    print(printable(f"{data.num_classes} classes, prompt {data.template!r}: {args.output}"))
    print(printable(f"to read it: --dataset wds/{output.name} --dataset_root {args.output}"))
    return 0


def export(
    data: ImageData,
    output: str | Path,
    *,
    image_format: str = "keep",
    max_count: int = MAX_COUNT,
    quiet: bool = False,
) -> dict[str, int]:
    """Write a data set whole or not at all; return the number of shards of every split.

    Args:
        data: splits that are empty are left out.
        output: a folder that does not exist yet.
        image_format: "keep" copies files that clip_benchmark can read byte for byte, and writes
            others as PNG; "webp" and "png" are lossless, "jpg" is not. Images that are in the
            given format are copied as well. Transparency, 16 bits and a camera's orientation are
            never left to the reader: such images are written anew, as they are seen in training.
        max_count: images per shard.
        quiet: show no progress bar.

    Raises:
        UsageError: the folder exists, or an option has no such value.
        ValueError: images that cannot be read (with their names), no images at all, or a class
            name that does not fit into a line of `classnames.txt`.
    """
    output = Path(output)
    refuse_existing(output)
    if image_format not in FORMATS:
        raise UsageError(f"image format is {image_format!r}; it has to be one of {FORMATS}.")
    if max_count < 1:
        raise UsageError(f"max count is {max_count}; a shard holds 1 image or more.")
    splits = {split: getattr(data, split) for split in SPLITS if getattr(data, split)}
    if not splits:
        raise ValueError(f"{data.spec} has no images to export.")
    texts = {
        "classnames.txt": [readable(name) for name in data.class_names],
        "zeroshot_classification_templates.txt": [data.template.replace("{}", "{c}")],
    }
    for lines in texts.values():
        _require_lines(data.spec, lines)
    shards, total = {}, sum(map(len, splits.values()))
    with (
        new_folder(output) as folder,
        Progress("exporting", total, quiet=quiet) as progress,
    ):
        unreadable: list[str] = []
        for split, examples in splits.items():
            encoded = _encoded(examples, image_format, unreadable, progress)
            shards[split] = _write_shards(folder / split, encoded, max_count)
        if unreadable:
            raise ValueError(
                f"{len(unreadable)} of {total} images cannot be exported; nothing was written: "
                + "; ".join(unreadable[:8])
                + (f"; and {len(unreadable) - 8} more" if len(unreadable) > 8 else "")
            )
        for name, lines in texts.items():
            write_atomically(folder / name, "".join(f"{line}\n" for line in lines).encode())
    return shards


def _encoded(
    examples: tuple[Example, ...], image_format: str, unreadable: list[str], progress: Progress
) -> Iterator[tuple[str, bytes, int]]:
    """Yield (suffix, bytes, label) of every image; collect what is wrong with the others."""
    for example in examples:
        try:
            suffix, content = encode(example, image_format)
        except ValueError as error:
            unreadable.append(str(error))
        else:
            if not unreadable:  # else nothing is written, only more unreadable ones are found
                yield suffix, content, int(example.label)
        progress.advance(1, images=1)


def encode(example: Example, image_format: str = "keep") -> tuple[str, bytes]:
    """Return the suffix and the content of one image in a shard.

    Every image is decoded once, so that a damaged one is found here and not in a long run.

    Raises:
        ValueError: it cannot be read, or not be written in this format.
    """
    decoded = read_image(example)
    content = _file_content(example)
    if content is not None:
        suffix = _SUFFIXES.get(plain_format(content, upright=example.upright) or "")
        # Other readers neither turn images nor know transparency: they need plain files.
        if suffix and image_format in ("keep", suffix):
            return suffix, content
    if isinstance(example.image, np.ndarray) and example.image.ndim == 2:
        decoded = Image.fromarray(example.image)  # gray in one channel: the same pixels, smaller
    suffix = "png" if image_format == "keep" else image_format
    stream = io.BytesIO()
    try:
        decoded.save(stream, **_SAVE[suffix])
    except (ValueError, OSError) as error:  # WebP has at most 16,383 pixels a side
        raise ValueError(f"{example.image} cannot be written as {suffix} ({error})") from error
    return suffix, stream.getvalue()


def _file_content(example: Example) -> bytes | None:
    """Return the image's file as it is on disk or in a shard; None where there are only pixels."""
    image = example.image
    if isinstance(image, Path):
        return image.read_bytes()
    if isinstance(image, ShardImage):
        return image.read()
    return None


def _write_shards(folder: Path, encoded: Iterator[tuple[str, bytes, int]], max_count: int) -> int:
    """Write the shards of one split and `nshards.txt`; return the number of shards."""
    folder.mkdir()
    with webdataset.ShardWriter(
        str(folder / "%d.tar"), maxcount=max_count, maxsize=MAX_BYTES, verbose=0, mtime=0
    ) as sink:
        for index, (suffix, content, label) in enumerate(encoded):
            sink.write({"__key__": f"s{index:07d}", suffix: content, "cls": label})
        count = sink.shard
    write_atomically(folder / "nshards.txt", f"{count}\n".encode())
    return count


def _require_lines(spec: str, lines: list[str]) -> None:
    """Check that nothing is lost when clip_benchmark reads one name per line and strips it."""
    broken = [line for line in lines if line.splitlines() != [line] or line.strip() != line]
    if broken:
        raise ValueError(
            f"{spec}: {listing(map(repr, broken))} cannot be written as one line of a text file: "
            "take line breaks and spaces at the ends out of class names and template."
        )
