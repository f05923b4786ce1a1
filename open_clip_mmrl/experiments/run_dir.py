"""A run's folder: what it holds, which run it belongs to, whether that is finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..training.trainer import CHECKPOINT, LOG
from ..utils.files import json_bytes, read_json, remove_leftovers, write_atomically
from .results import ADAPTER, RESULTS
from .run_spec import FewShotRun

SETTINGS, SELECTION, TARGETS = "run.json", "selection.json", "targets"
_COMPUTED = (RESULTS, ADAPTER, CHECKPOINT, SELECTION, TARGETS)
_DIGEST = "train_images"


def prepare_run_dir(output: Path, run: FewShotRun, digest: str) -> bool:
    """Take a folder for a run and write run.json; True if that run is finished already.

    It is when its results are there, and its adapter if it trains one. A folder in which nothing
    was computed yet may be taken with other settings.

    Args:
        output: the folder; made if it does not exist.
        run: what decides the numbers.
        digest: of what is trained on.

    Raises:
        UsageError: the folder belongs to a run with other settings or on other images.
        ValueError: its run.json is damaged, or a folder is where a file of the run belongs.
    """
    settings = {**run.to_dict(), _DIGEST: digest}
    path = output / SETTINGS
    if output.exists() and not output.is_dir():
        raise UsageError(f"output {output} is a file; give a folder.")
    for name in (SETTINGS, RESULTS, ADAPTER, CHECKPOINT, SELECTION, LOG):
        remove_leftovers(output / name)
        if (output / name).is_dir():
            raise ValueError(f"{output / name} is a folder, but a run keeps a file there: move it.")
    computed = [name for name in _COMPUTED if (output / name).exists()]
    if not computed:
        write_atomically(path, json_bytes(settings))
        return False
    if not path.is_file():
        raise UsageError(f"{output} holds a {computed[0]} of unknown origin; give another folder.")
    there, their_digest = _read(output)
    ours, theirs = _flat(settings), _flat({**there.to_dict(), _DIGEST: their_digest})
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    if keys:
        lines = "; ".join(f"{k}: {theirs.get(k)!r} there, {ours.get(k)!r} now" for k in keys)
        raise UsageError(
            f"{output} belongs to a run with other settings ({lines}). Give another folder, or "
            "remove this one."
        )
    needed = (RESULTS, ADAPTER) if run.trains_adapter else (RESULTS,)
    return all((output / name).is_file() for name in needed)


def finished_run(folder: Path) -> tuple[FewShotRun, str] | None:
    """Return the run that trained an adapter here, and its digest; None if none is finished."""
    if not all((folder / name).is_file() for name in (SETTINGS, RESULTS, ADAPTER)):
        return None
    return _read(folder)


def _read(folder: Path) -> tuple[FewShotRun, str]:
    """Return run and digest; fields that came after the file's version are at their defaults."""
    path = folder / SETTINGS
    try:
        values = read_json(path)
        return FewShotRun.from_dict(values), values[_DIGEST]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged, or of another version ({error}); remove {folder} to start this "
            "run again."
        ) from error


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level, keys joined with dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        flat.update(_flat(value, f"{prefix}{key}.") if nested else {prefix + key: value})
    return flat
