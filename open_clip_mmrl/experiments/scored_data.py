"""The data that a finished adapter is scored on: images that it was not trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ..data import FolderOptions, ImageData, Trained, load_data
from ..data.more_prompts import MorePrompts
from ..data.test_split import SPLIT_FILE, DrawnSplit
from ..hub.adapter_info import AdapterInfo
from ..utils.files import read_json
from ..utils.json_fields import objects, optional
from .resolve import with_drawn_val

logger = logging.getLogger(__name__)


def data_to_score(
    spec: str,
    adapter: AdapterInfo,
    *,
    data_root: str | Path | None = None,
    template: str | None = None,
    prompts: Mapping[str, tuple[str, ...]] | None = None,
    class_names: Mapping[str, str] | None = None,
    nested: bool | None = None,
    split: Literal["test", "val"] = "test",
    quiet: bool = False,
) -> ImageData:
    """Return the data set that `spec` names, without the images that the adapter was trained on.

    That concerns class folders without a test split. Of the folder of the adapter's training its
    test images are kept, by the run's `split.json` next to the adapter or else drawn again; of
    another folder all images. Validation images that the training drew are drawn again, where
    they are to be scored. Folders are named and read as for the training, unless told.

    Args:
        spec: the data spec.
        adapter: header of the adapter.
        data_root: as `load_data` takes it, and so `template` and `quiet`.
        template: the prompt; by default the data set's own, or else the adapter's. An adapter of
            several prompts has its own for every data set.
        prompts: of the classes, by name; None takes the adapter's.
        class_names: by folder name; by default those of the training, where there are such.
        nested: whether folders below folders are classes; by default as in the training.
        split: the images that are to be scored.
        quiet: no progress bars.

    Raises:
        ValueError: the data cannot be read, or the folder of the training has changed so that
            nobody knows which images were trained on.
    """
    trained = Trained()
    if spec.startswith("folder:"):
        trained, was_nested = _of_training(adapter)
        nested = was_nested if nested is None else nested
    options = FolderOptions(nested=bool(nested), class_names=class_names, trained=trained)
    data = load_data(spec, data_root=data_root, template=template, quiet=quiet, folder=options)
    drawn, validated = trained.split, adapter.settings.get("test_split") == "val"
    if split == "val" and not data.val and validated and drawn is not None:
        names = class_names or trained.class_names or None
        options = FolderOptions(
            nested=bool(nested), class_names=names, test_fraction=drawn.test_fraction
        )
        again = load_data(spec, template=template, folder=options)
        if again.drawn is None or again.drawn.digest != drawn.digest:
            raise ValueError(
                f"{spec} is not the folder of the adapter's training, or has changed since: nobody "
                "knows which validation images were not trained on. Score its test images."
            )
        data = replace(with_drawn_val(again), train=(), test=())
    more = adapter.prompts if template is None else None
    if adapter.template and (more or not data.own_template):
        data = data.with_template(adapter.template)
    if prompts is not None:
        more = (more or MorePrompts()).plus(prompts)
    elif more is not None:  # of classes that the adapter does not know
        return replace(data, prompts=more)
    return data.with_prompts(more)


def _of_training(adapter: AdapterInfo) -> tuple[Trained, bool]:
    """Return what the adapter's header, and the run's file next to it, say of the training."""
    settings = adapter.settings
    try:
        split = optional(settings, "split", dict)
        names = objects(settings, "class_names")
        if not all(isinstance(name, str) for name in names.values()):
            raise ValueError("'class_names' holds a name that is no text")
        nested = optional(settings, "nested", bool) or False
        found = None if split is None else _with_lists(adapter, DrawnSplit.from_json(split))
    except ValueError as error:
        raise ValueError(f"{adapter.path}: the settings in its header: {error}") from error
    return Trained(split=found, class_names=names), nested


def _with_lists(adapter: AdapterInfo, split: DrawnSplit) -> DrawnSplit:
    """Return the split as `split.json` next to the adapter lists it, where that is there."""
    path = Path(adapter.path).with_name(SPLIT_FILE)
    if not path.is_file():
        return split
    try:
        content: Any = read_json(path)
        if not isinstance(content, dict):
            raise ValueError(f"{path}: no JSON object")
        listed = DrawnSplit.from_json(content)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to draw again") from error
    if listed.digest == split.digest:
        return listed
    logger.warning("%s belongs to another adapter and is not used.", path)
    return split
