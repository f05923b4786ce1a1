"""A run's folder: what it holds, whose it is, whether the run is finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import ImageData
from ..errors import UsageError
from ..training.trainer import CHECKPOINT
from ..utils.files import json_bytes, write_atomically
from .results import RESULTS
from .run_spec import FewShotRun

ADAPTER, SETTINGS = "adapter.safetensors", "run.json"
SELECTION, TARGETS = "selection.json", "targets"
_COMPUTED = (RESULTS, ADAPTER, CHECKPOINT, SELECTION, TARGETS)
_IMAGES = "train_images"


def prepare_run_dir(
    output: Path, run: FewShotRun, images: str, needed: Sequence[str] = (RESULTS, ADAPTER)
) -> bool:
    """Take a folder for a run; True if that run is finished already.

    It is when all files of `needed` are there. A folder in which nothing was computed yet may be
    taken with other settings.

    Args:
        images: the `digest` of what is trained on.

    Raises:
        UsageError: the folder belongs to a run with other settings or on other images.
    """
    settings = {**run.to_dict(), _IMAGES: images}
    path = output / SETTINGS
    if output.exists() and not output.is_dir():
        raise UsageError(f"output {output} is a file; give a folder.")
    computed = [name for name in _COMPUTED if (output / name).exists()]
    if not computed:
        write_atomically(path, json_bytes(settings))
        return False
    if not path.is_file():
        raise UsageError(f"{output} holds a {computed[0]} of unknown origin; give another folder.")
    there, their_images = _read(output)
    ours, theirs = _flat(settings), _flat({**there.to_dict(), _IMAGES: their_images})
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    if keys:
        lines = "; ".join(f"{k}: {theirs.get(k)!r} there, {ours.get(k)!r} now" for k in keys)
        raise UsageError(
            f"{output} belongs to a run with other settings ({lines}). Give another folder, or "
            "remove this one."
        )
    return all((output / name).is_file() for name in needed)


def finished(folder: Path) -> tuple[FewShotRun, str] | None:
    """The trained run whose folder this is, and the digest of its images; None if there is none."""
    if not all((folder / name).is_file() for name in (SETTINGS, RESULTS, ADAPTER)):
        return None
    return _read(folder)


def _read(folder: Path) -> tuple[FewShotRun, str]:
    """The run of a folder; fields that its version had not yet are at their defaults."""
    path = folder / SETTINGS
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return FewShotRun.from_dict(values), values[_IMAGES]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged, or of another version ({error}); remove {folder} to begin anew."
        ) from error


def digest(subset: ImageData) -> str:
    """What tells one set of training images from another: where they lie, or pixels, and labels.

    Not the content of files: a broken image may be mended between two parts of a run.
    """
    state = hashlib.sha256(repr((subset.class_names, subset.template)).encode())
    for example in subset.train:
        if isinstance(example.image, np.ndarray):
            state.update(example.image.tobytes() + repr(example.label).encode())
        else:
            state.update(repr((str(example.image), example.label)).encode())
    return state.hexdigest()[:16]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, keys joined with dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        flat.update(_flat(value, f"{prefix}{key}.") if nested else {prefix + key: value})
    return flat
