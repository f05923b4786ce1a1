"""`wds:PATH_OR_URL`: images in shards, clip_benchmark's webdataset layout (see `shards.py`).

Of the shards the headers and labels are read, not the pixels, so the few-shot draw costs one pass
over the headers, and `read_image` reads any image by itself. Shards behind a URL are fetched into
the cache folder first (see `remote.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from ...errors import UsageError
from ...utils.progress import Progress
from ...utils.text import listing
from ..dataset import Example, ImageData
from ..prompts import DEFAULT_TEMPLATE, parse_template
from ..shards.download import fetch_shard, is_url
from ..shards.index import (
    CLASS_NAMES,
    PARTS,
    TEMPLATES,
    index_shard,
    parts_of,
    read_layout,
    shard_urls,
)

# ImageNet's names in clip_benchmark, which are CLIP's, hold these twice. The second ones are
# n04008634 and n04356056, for which WordNet has other names.
_SECOND = {"missile": "projectile", "sunglasses": "dark glasses"}


def read_wds(root: str, *, quiet: bool = False, spec: str | None = None) -> ImageData:
    """The data set at `root`, a folder or a URL; train and val may be absent.

    Examples come in the shards' order. If that is the order of the folder they were exported
    from, a few-shot draw picks the same images from both.

    Raises:
        UsageError: there is nothing of this layout at `root`.
        ValueError: it holds no classification data, class names are missing or do not fit the
            labels, or a shard is not in order (see `shards.py` and `remote.py`).
    """
    spec = spec or f"wds:{root}"
    layout = read_layout(root)
    if layout.kind != "classification":
        raise ValueError(
            f"{spec} is a {layout.kind} data set; few-shot training needs one label per image"
        )
    parts = parts_of(layout)
    if not parts:
        raise UsageError(
            f"{spec}: none of {listing(PARTS)} is there; test/nshards.txt must be in {layout.root}"
        )
    if "test" not in parts:
        raise ValueError(f"{spec} has no test split; splits there: {listing(parts)}")
    if layout.class_names is None:
        raise ValueError(
            f"{spec} has no {CLASS_NAMES}; add it: one class name a line, in the labels' order"
        )
    template, own = choose_template(layout.templates, f"{spec}, {TEMPLATES}")
    urls = {part: shard_urls(layout, part) for part in parts}  # all checked before any is read
    shards = {part: _local(urls[part], part, quiet) for part in parts}
    examples: dict[str, tuple[Example, ...]] = dict.fromkeys(PARTS, ())
    with Progress("reading shards", sum(map(len, shards.values())), quiet=quiet) as bar:
        for part, paths in shards.items():
            found = []
            for path in paths:
                indexed = index_shard(path)
                _require_labels_in_range(indexed, len(layout.class_names))
                found += indexed
                bar.advance(1, images=len(indexed))
            examples[part] = tuple(found)
    return ImageData(
        spec=spec,
        class_names=tell_apart(layout.class_names, spec),
        template=template,
        own_template=own,
        **examples,
    )


def choose_template(templates: Sequence[str] | None, source: str) -> tuple[str, bool]:
    """One of clip_benchmark's prompts, with `{}` for its `{c}`, and whether it is the data's own.

    Training takes one sentence per class: the field's general one if it is among them, else the
    first. Without any, the general one, which is not the data's own.

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


def tell_apart(class_names: Sequence[str], spec: str) -> tuple[str, ...]:
    """The names, but for ImageNet's second "missile" and "sunglasses": no prompt tells those apart.

    Warns of each change: clip_benchmark's own numbers are got without it.
    """
    names: list[str] = []
    for name in class_names:
        if name in _SECOND and name in names:
            warnings.warn(
                f"{spec}: two classes are named {name!r}; the second is {_SECOND[name]!r} here",
                stacklevel=3,
            )
            name = _SECOND[name]
        names.append(name)
    return tuple(names)


def _local(urls: list[str], part: str, quiet: bool) -> list[Path]:
    if not is_url(urls[0]):
        return [Path(path) for path in urls]
    return [
        fetch_shard(url, f"{part} {number} of {len(urls)}, MB", quiet=quiet)
        for number, url in enumerate(urls, start=1)
    ]


def _require_labels_in_range(examples: list[Example], num_classes: int) -> None:
    for example in examples:
        if not 0 <= example.label < num_classes:
            place = example.image
            raise ValueError(
                f"{CLASS_NAMES} has {num_classes} names, but sample {place.key} in {place.shard} "
                f"has label {example.label}; labels are 0 to {num_classes - 1}"
            )
