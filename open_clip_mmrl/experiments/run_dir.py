"""A run's folder: what it holds, which run it belongs to, whether that is finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..hub.adapter_path import SETTINGS as SETTINGS
from ..training.checkpoint import CHECKPOINT
from ..training.record import LOG
from ..utils.files import json_bytes, read_json, remove_leftovers, write_atomically
from ..version import __version__
from .results import ADAPTER, RESULTS, RunResult
from .run_spec import FewShotRun, with_absolute_paths

SELECTION, TARGETS = "selection.json", "targets"
_COMPUTED = (RESULTS, ADAPTER, CHECKPOINT, SELECTION, TARGETS)
_DIGEST, _SEEN_FROM, _VERSION = "train_images", "working_folder", "written_by"


def is_finished(output: Path, run: FewShotRun, digests: Sequence[str]) -> bool:
    """Return whether this run is finished in this folder, which may be read-only.

    It is when its results are there, and its adapter if it trains one.

    Args:
        output: the folder; it need not exist.
        run: what decides the numbers. A relative path is the same as its absolute one.
        digests: of what is trained on; the first is of this version, others were written by
            earlier ones.

    Raises:
        UsageError: the folder belongs to a run with other settings or on other images.
        ValueError: its run.json is damaged, or a folder is where a file of the run belongs.
    """
    if output.exists() and not output.is_dir():
        raise UsageError(f"output {output} is a file; give a folder.")
    for name in (SETTINGS, RESULTS, ADAPTER, CHECKPOINT, SELECTION, LOG):
        remove_leftovers(output / name)
        if (output / name).is_dir():
            raise ValueError(f"{output / name} is a folder, but a run keeps a file there: move it.")
    computed = _computed(output)
    if not computed:
        return False
    if not (output / SETTINGS).is_file():
        raise UsageError(f"{output} holds a {computed[0]} of unknown origin; give another folder.")
    there, digest = _read(output)
    ours = _flat({**with_absolute_paths(run, Path.cwd()).to_dict(), _DIGEST: digests[0]})
    theirs = _flat({**there.to_dict(), _DIGEST: digests[0] if digest in digests else digest})
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    if keys:
        texts = {_DIGEST: f"{_DIGEST}, a digest of what is trained on"}
        lines = "; ".join(
            f"{texts.get(k, k)}: {theirs.get(k)!r} there, {ours.get(k)!r} now" for k in keys
        )
        raise UsageError(
            f"{output} belongs to a run with other settings ({lines}). Give another folder, or "
            "remove this one."
        )
    needed = (RESULTS, ADAPTER) if run.trains_adapter else (RESULTS,)
    return all((output / name).is_file() for name in needed)


def prepare_run_dir(output: Path, run: FewShotRun, digests: Sequence[str]) -> bool:
    """Take a folder for a run and write run.json; True if that run `is_finished` already.

    A folder in which nothing was computed yet may be taken with other settings.
    """
    finished = is_finished(output, run, digests)
    if not _computed(output):
        settings = {_DIGEST: digests[0], _SEEN_FROM: str(Path.cwd()), _VERSION: __version__}
        write_atomically(output / SETTINGS, json_bytes({**run.to_dict(), **settings}))
    return finished


def finished_result(folder: Path) -> RunResult:
    """Return the results in a run's folder; the message of its ValueError has the remedy."""
    try:
        return RunResult.read(folder / RESULTS)
    except ValueError as error:
        raise ValueError(f"{error}. Remove this file to carry out the run again.") from error


def finished_run(folder: Path) -> tuple[FewShotRun, str] | None:
    """Return the run that trained an adapter here, and its digest; None if none is finished."""
    if not all((folder / name).is_file() for name in (SETTINGS, RESULTS, ADAPTER)):
        return None
    return _read(folder)


def stopped_run_names_version(folder: Path) -> bool:
    """Return False where a run was stopped that an earlier version began, which noted none."""
    return not (folder / CHECKPOINT).is_file() or _VERSION in read_json(folder / SETTINGS)


def same_but_for_seed(folder: Path) -> list[Path]:
    """Return a finished run's folder and those next to it of the same run with other seeds.

    Nothing where the folder holds no run; what is damaged next to it is skipped.
    """
    own = finished_run(folder)
    if own is None:
        return []
    others = (other for other in folder.parent.iterdir() if other != folder)
    return [folder, *(other for other in others if _is_same(other, own[0]))]


def _is_same(folder: Path, run: FewShotRun) -> bool:
    try:
        found = finished_run(folder)
    except (ValueError, OSError):
        return False
    seed = {"seed": run.train.seed}
    return found is not None and found[0].replace(train=replace(found[0].train, **seed)) == run


def _computed(folder: Path) -> list[str]:
    return [name for name in _COMPUTED if (folder / name).exists()]


def _read(folder: Path) -> tuple[FewShotRun, str]:
    """Return run, with absolute paths, and digest.

    Fields that came after the file's version are at their defaults. Relative paths are those of
    the working folder at that time, or of the present one where it is not known or has moved.
    """
    path = folder / SETTINGS
    try:
        values = read_json(path)
        seen_from = Path(values.get(_SEEN_FROM, ""))
        if not seen_from.is_absolute() or not seen_from.is_dir():
            seen_from = Path.cwd()
        run = with_absolute_paths(FewShotRun.from_dict(values), seen_from)
        return run, values[_DIGEST]
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
