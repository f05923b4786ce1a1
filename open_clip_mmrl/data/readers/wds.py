"""`wds:PATH_OR_URL`: images in shards, clip_benchmark's webdataset layout (see `shards/index.py`).

Only headers and labels of the shards are read, not the pixels, so the few-shot draw costs one pass
over the headers, and `read_image` reads any image by itself. Shards at a URL are fetched into the
cache folder first (see `shards/download.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ...errors import UsageError
from ...utils.progress import Progress
from ...utils.text import listing
from ..dataset import SPLITS, ImageData
from ..example import Example
from ..prompts import DEFAULT_TEMPLATE, REPEATED_IMAGENET_NAMES, parse_template
from ..shards.download import fetch_shard, is_url
from ..shards.index import (
    CLASS_NAMES,
    TEMPLATES,
    index_shard,
    read_layout,
    shard_urls,
    splits_of,
)

logger = logging.getLogger(__name__)

_OTHER_NAMES = dict(REPEATED_IMAGENET_NAMES.values())  # clip_benchmark uses CLIP's list


def read_wds(root: str, *, quiet: bool = False, spec: str | None = None) -> ImageData:
    """Read the data set at `root`, a folder or a URL; train and val may be absent.

    Examples come in the shards' order. If that is the order of the folder they were exported
    from, a few-shot draw picks the same images from both.

    Raises:
        UsageError: there is nothing of this layout at `root`.
        ValueError: it holds no classification data, class names are missing or do not fit the
            labels, or a shard cannot be used (see `shards`).
    """
    spec = spec or f"wds:{root}"
    layout = read_layout(root)
    if layout.kind != "classification":
        raise ValueError(
            f"{spec} is a {layout.kind} data set; few-shot training needs one label per image"
        )
    present = splits_of(layout)
    if not present:
        raise UsageError(
            f"{spec}: none of {listing(SPLITS)} is there; test/nshards.txt must be in {layout.root}"
        )
    if "test" not in present:
        raise ValueError(f"{spec} has no test split; splits there: {listing(present)}")
    if layout.class_names is None:
        raise ValueError(
            f"{spec} has no {CLASS_NAMES}; add it: one class name a line, in the labels' order"
        )
    template, own = choose_template(layout.templates, f"{spec}, {TEMPLATES}")
    # All checked before any is read.
    urls = {split: shard_urls(layout, split) for split in present}
    shards = {split: _local(urls[split], split, quiet) for split in present}
    examples: dict[str, tuple[Example, ...]] = dict.fromkeys(SPLITS, ())
    with Progress("reading shards", sum(map(len, shards.values())), quiet=quiet) as bar:
        for split, paths in shards.items():
            found: list[Example] = []
            for path in paths:
                indexed = index_shard(path)
                _require_labels_in_range(indexed, len(layout.class_names))
                found += indexed
                bar.advance(1, images=len(indexed))
            examples[split] = tuple(found)
    return ImageData(
        spec=spec,
        class_names=distinct_names(layout.class_names, spec),
        template=template,
        own_template=own,
        train=examples["train"],
        val=examples["val"],
        test=examples["test"],
    )


def choose_template(templates: Sequence[str] | None, source: str) -> tuple[str, bool]:
    """Return one of clip_benchmark's prompts, with `{}`, and whether it is the data's own.

    Training takes one sentence per class: the general one ("a photo of a {}.") if it is among them,
    else the first. Without any, the general one, which is not the data's own.

    Raises:
        ValueError: the prompt has no place for the class name; the message names `source`.
    """
    if not templates:
        return DEFAULT_TEMPLATE, False
    converted = [template.replace("{c}", "{}") for template in templates]
    if DEFAULT_TEMPLATE in converted:
        return DEFAULT_TEMPLATE, True
    try:
        return parse_template(converted[0]), True
    except UsageError as error:
        raise ValueError(f"{source}: {error} ({{c}} in that file)") from error


def distinct_names(class_names: Sequence[str], spec: str) -> tuple[str, ...]:
    """Return the names, with another one for ImageNet's second "missile" and "sunglasses".

    Two classes with one name would have the same prompt. Each change is logged as a warning:
    clip_benchmark's own results do not have it.
    """
    names: list[str] = []
    for name in class_names:
        if name in _OTHER_NAMES and name in names:
            other = _OTHER_NAMES[name]
            logger.warning("%s: two classes are named %r; the second is %r here", spec, name, other)
            name = other
        names.append(name)
    return tuple(names)


def _local(urls: list[str], split: str, quiet: bool) -> list[Path]:
    if not is_url(urls[0]):
        return [Path(path) for path in urls]
    return [
        fetch_shard(url, f"{split} {number} of {len(urls)}, MB", quiet=quiet)
        for number, url in enumerate(urls, start=1)
    ]


def _require_labels_in_range(examples: list[Example], num_classes: int) -> None:
    for example in examples:
        if not 0 <= example.label < num_classes:
            raise ValueError(
                f"{CLASS_NAMES} has {num_classes} names, but the sample at {example.image} has "
                f"label {example.label}; labels are 0 to {num_classes - 1}"
            )
