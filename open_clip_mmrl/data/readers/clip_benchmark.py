"""`clip_benchmark:NAME`: the data sets of clip_benchmark, if they are on disk already.

NAME and data_root are its `--dataset` and `--dataset_root`. `clip_benchmark:wds/NAME` are shards,
read by `wds.py`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...utils.files import expand_home
from ...utils.progress import Progress
from ...utils.text import did_you_mean, listing
from ..dataset import ImageData
from ..example import DatasetItem, Example
from ..no_programs import no_programs
from ..shards.download import is_url
from .wds import choose_template, distinct_names, read_wds

logger = logging.getLogger(__name__)
_NAMES_BY_SPLITS = {  # clip_benchmark's datasets/builder.py, version 1.6.2
    "train test": "cars cifar10 cifar100 fer2013 food101 gtsrb imagenet1k imagenet1k-unverified "
    "mnist stl10 voc2007",
    "train val test": "dtd fgvc_aircraft flowers pcam renderedsst2",
    # There, every split of the last three is the whole: nothing is left to train on.
    "test": "imagenetv2 imagenet_sketch imagenet-a imagenet-r imagenet-o objectnet caltech101 "
    "eurosat sun397",
}
SPLIT_NAMES = {
    **{
        name: {split: split for split in splits.split()}
        for splits, names in _NAMES_BY_SPLITS.items()
        for name in names.split()
    },
    "country211": {"train": "train", "val": "valid", "test": "test"},
    "pets": {"train": "trainval", "test": "test"},
}
"""For every data set: the splits it has, and clip_benchmark's names for them."""
_CAPTIONED = (
    "crossmodal3600 flickr30k flickr30k-200 flickr8k mscoco_captions multilingual_mscoco_captions "
    "sugar_crepe winoground xtd10 xtd200"
)


def read_benchmark(name: str, data_root: str | Path | None, *, quiet: bool = False) -> ImageData:
    """Read the data set NAME below `data_root`, with clip_benchmark's class names and prompts.

    `{dataset}` and `{dataset_cleaned}` in `data_root` are replaced by NAME, as in clip_benchmark;
    the latter with `-` for `/`. Nothing is downloaded, except the shards of a `wds/` URL. A split
    that is not there is left empty with a warning, unless it is test: ImageNet is often kept
    without its training images.

    Raises:
        UsageError: an unknown NAME, no `data_root`, or no such folder.
        ValueError: NAME is no data set for classification, or cannot be read.
    """
    spec = f"clip_benchmark:{name}"
    short = name.removeprefix("wds/")
    if short == name:
        _require_readable(name)
    if data_root is None or not short:
        raise UsageError(
            f"{spec} needs data_root (on the command line --data-root): what clip_benchmark calls "
            "--dataset_root"
        )
    root = str(data_root).replace("{dataset}", short)
    root = root.replace("{dataset_cleaned}", short.replace("/", "-"))
    if not is_url(root):
        root = str(expand_home(root))
    if short != name:
        return read_wds(root, quiet=quiet, spec=spec)
    if not Path(root).is_dir():
        raise UsageError(f"{spec}: data_root {root} does not exist or is not a folder")

    datasets = {}
    for split, their_name in reversed(SPLIT_NAMES[name].items()):  # test first: it has to be there
        try:
            datasets[split] = _build(name, root, their_name)
        except Exception as error:  # every data set of clip_benchmark raises its own
            message = _missing(name, root, their_name, error)
            if split == "test":
                raise ValueError(message) from error
            logger.warning(message)
    test = datasets["test"]

    def examples(split: str) -> tuple[Example, ...]:
        if split not in datasets:
            return ()
        with no_programs():  # some are asked for their labels with their images
            return _examples(datasets[split], f"{spec}, {split}", quiet)

    template, own = choose_template(test.templates, spec)
    return ImageData(
        spec=spec,
        class_names=distinct_names(test.classes, spec),
        template=template,
        own_template=own,
        train=examples("train"),
        val=examples("val"),
        test=examples("test"),
    )


def labels_of(dataset: Any, what: str, *, quiet: bool = False) -> list[int]:
    """Return the label of every item; without decoding if the data set keeps a list of them.

    A list is used if it is as long as the data set and right for the first, middle and last item:
    ObjectNet's includes images that the data set leaves out.
    """
    count = len(dataset)
    probes = sorted({0, count // 2, count - 1}) if count else []
    truth = [int(dataset[index][1]) for index in probes]
    for labels in _kept_labels(dataset):
        if len(labels) == count and [int(labels[index]) for index in probes] == truth:
            return [int(label) for label in labels]
    with Progress(f"reading labels of {what}", count, quiet=quiet) as bar:
        labels = []
        for index in range(count):
            labels.append(int(dataset[index][1]))
            bar.advance(1, images=1)
    return labels


def _kept_labels(dataset: Any) -> Iterable[Sequence[Any]]:
    """Yield the lists that classes of torchvision and clip_benchmark keep, by various names."""
    for name in ("targets", "_labels", "labels", "y"):
        labels = getattr(dataset, name, None)
        if labels is not None:
            yield labels.tolist() if hasattr(labels, "tolist") else labels
    for name in ("_samples", "samples", "bndboxes"):  # rows of a path and, last, the label
        rows = getattr(dataset, name, None)
        if rows is not None:
            yield [row[-1] for row in rows]


def _examples(dataset: Any, what: str, quiet: bool) -> tuple[Example, ...]:
    from torchvision.datasets import ImageFolder

    # A folder per class, numbered in the order of the names: clip_benchmark gives it its own
    # class names without looking how many folders there are.
    if type(dataset) is ImageFolder and len(dataset.class_to_idx) != len(dataset.classes):
        raise ValueError(
            f"{what}: {dataset.root} has {len(dataset.class_to_idx)} class folders "
            f"({listing(dataset.class_to_idx)}), but there are {len(dataset.classes)} classes: "
            f"{listing(dataset.classes)}"
        )
    return tuple(
        Example(image=DatasetItem(dataset, what, index), label=label)
        for index, label in enumerate(labels_of(dataset, what, quiet=quiet))
    )


def _build(name: str, root: str, split: str) -> Any:
    if name == "imagenetv2":  # unless all is there, it downloads even with download=False
        folder = Path(root, "ImageNetV2-matched-frequency")
        found = sum(1 for _ in folder.rglob("*.jpeg"))
        if found != 10_000:
            raise FileNotFoundError(f"{folder} holds {found} of 10000 images")
    from clip_benchmark.datasets.builder import build_dataset  # seconds, so not at the top

    with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
        return build_dataset(name, root=root, split=split, transform=None, download=False)


def _missing(name: str, root: str, split: str, error: Exception) -> str:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    call = f"build_dataset({name!r}, root={root!r}, split={split!r})"
    return (
        f"clip_benchmark:{name}: the {split} split cannot be read from {root} ({reason}). Nothing "
        "is downloaded here; for many data sets clip_benchmark can: python -c "
        f'"from clip_benchmark.datasets.builder import build_dataset; {call}"'
    )


def _require_readable(name: str) -> None:
    group = name.split("/")[0]
    if name in SPLIT_NAMES:
        return
    if group in _CAPTIONED.split():
        raise ValueError(f"clip_benchmark:{name} has captions; training needs one label per image")
    if name == "voc2007_multilabel":
        raise ValueError(
            f"clip_benchmark:{name} has several labels per image; training needs one (voc2007)"
        )
    if group in ("vtab", "tfds"):
        raise ValueError(
            f"clip_benchmark:{name} can only be read in sequence; export it with "
            "clip_benchmark_export_wds, and give wds:PATH"
        )
    raise UsageError(
        f"clip_benchmark:{name}: no such data set can be read.{did_you_mean(name, SPLIT_NAMES)} "
        f"Known: {listing(sorted(SPLIT_NAMES), len(SPLIT_NAMES))}; or wds/NAME for shards"
    )
