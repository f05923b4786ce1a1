"""From a data spec to a data set: the table of readers, one for each prefix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UsageError
from ..utils.files import expand_home
from ..utils.text import did_you_mean, suggestion
from .class_names import read_class_names
from .coop.catalog import CATALOG
from .coop.read import read_coop
from .dataset import ImageData
from .prompts import parse_template
from .readers.clip_benchmark import SPLIT_NAMES, read_benchmark
from .readers.digits import read_digits
from .readers.image_folder import FolderOptions, class_folder_names, read_folder
from .readers.scrawl import read_scrawl
from .readers.wds import read_wds


@dataclass(frozen=True)
class _Reader:
    """How a prefix is written, what it means, and what reads it.

    Attributes:
        argument: the name of what follows the colon; empty: neither is written.
        meaning: for the list of forms in messages.
        read: takes the argument, `data_root`, `quiet`, and how a folder is read.
    """

    argument: str
    meaning: str
    read: Callable[[str, str | Path | None, bool, FolderOptions | None], ImageData]


_READERS = {
    "digits": _Reader("", "the handwritten digits of scikit-learn", lambda *_: read_digits()),
    "scrawl": _Reader(
        "",
        "47 characters in shaky handwriting, drawn by this package",
        lambda *_: read_scrawl(),
    ),
    "folder": _Reader(
        "PATH",
        "PATH/<class>/*, or PATH/train/<class>/* and PATH/test/<class>/*",
        lambda argument, _root, _quiet, folder: read_folder(argument, folder),
    ),
    "coop": _Reader(
        "NAME",
        "NAME under data_root: one of the paper's fifteen, or a folder with its split_*.json",
        lambda argument, root, *_: read_coop(argument, root),
    ),
    "wds": _Reader(
        "PATH_OR_URL",
        "shards in clip_benchmark's webdataset layout, test/nshards.txt, test/0.tar, ...",
        lambda argument, _root, quiet, *_: read_wds(argument, quiet=quiet),
    ),
    "clip_benchmark": _Reader(
        "NAME",
        "clip_benchmark's NAME under data_root, its --dataset_root; wds/NAME for shards",
        lambda argument, root, quiet, *_: read_benchmark(argument, root, quiet=quiet),
    ),
}


def load_data(
    spec: str,
    *,
    data_root: str | Path | None = None,
    template: str | None = None,
    quiet: bool = False,
    folder: FolderOptions | None = None,
) -> ImageData:
    """Return the data set that `spec` names.

    Args:
        spec: the data spec: digits, scrawl, folder:PATH, coop:NAME, wds:PATH_OR_URL or
            clip_benchmark:NAME.
        data_root: the folder that holds the data sets of `coop:`, or what clip_benchmark calls
            `--dataset_root`; the others do not use it.
        template: a prompt to use instead of the data set's own, with `{}` for the class name.
        quiet: no progress bars where reading or fetching takes long.
        folder: how a `folder:` is read; others refuse options of a training, for they have splits
            and names of their own.

    Raises:
        ValueError: an unknown form, or whatever the reader finds wrong; see the readers.

    Example:
        >>> data = load_data("digits")
        >>> data.num_classes, len(data.few_shot(shots=2, seed=1).train)
        (10, 20)
    """
    if template is not None:
        template = parse_template(template)  # before a large folder is read
    if not isinstance(spec, str):
        raise UsageError(f"data is {spec!r}, not a string.{_forms()}")
    prefix, colon, argument = spec.partition(":")
    reader = _READERS.get(prefix)
    if reader is None:
        raise UsageError(f"unknown data {spec!r}.{_suggestion(spec, prefix)}{_forms()}")
    if bool(reader.argument) != bool(argument) or (colon and not reader.argument):
        raise UsageError(f"data {spec!r} must be written {_form(prefix, reader)}.{_forms()}")
    if prefix != "folder" and folder and replace(folder, trained=None) != FolderOptions():
        raise UsageError(
            f"{spec} has class names and splits of its own: nested, test_fraction and "
            "class_names belong to folder:PATH."
        )
    data = reader.read(argument, data_root, quiet, folder)
    return data if template is None else data.with_template(template)


def read_names(
    spec: str, path: str | Path | None, *, nested: bool = False
) -> dict[str, str] | None:
    """Return the class names that a file gives the folders of `folder:PATH`; None without a file.

    Raises:
        UsageError: other data, or the file does not fit it; see `read_class_names`.
        ValueError: the folder cannot be read.
    """
    if path is None:
        return None
    prefix, _, argument = spec.partition(":")
    if prefix != "folder":
        raise UsageError(f"{spec} has class names of its own; a file of them is for folder:PATH.")
    return read_class_names(path, class_folder_names(argument, nested=nested))


def _form(prefix: str, reader: _Reader) -> str:
    return f"{prefix}:{reader.argument}" if reader.argument else prefix


def _forms() -> str:
    lines = (
        f"\n  {_form(prefix, reader)}: {reader.meaning}" for prefix, reader in _READERS.items()
    )
    return " The forms are:" + "".join(lines)


def _suggestion(spec: str, prefix: str) -> str:
    if prefix in ("http", "https"):
        return suggestion(f"wds:{spec}")
    path = expand_home(spec)
    if path.is_dir():
        kind = "wds" if next(path.glob("*/nshards.txt"), None) else "folder"
        return suggestion(f"{kind}:{spec}")
    if spec in CATALOG:
        return suggestion(f"coop:{spec}")
    if spec in SPLIT_NAMES:
        return suggestion(f"clip_benchmark:{spec}")
    return did_you_mean(prefix, _READERS)
