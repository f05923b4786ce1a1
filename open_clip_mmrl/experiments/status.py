"""How far the runs below a folder are, from what lies there: on any machine that sees it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..training.record import LOG
from ..utils.files import read_json
from ..utils.folder_lock import worker_in
from .job import FAILED, PLAN, planned_folders
from .results import RESULTS
from .run_dir import SETTINGS

State = Literal["finished", "running", "failed", "stopped", "waiting"]


@dataclass(frozen=True)
class RunStatus:
    """One run.

    Attributes:
        folder: below the folder of all runs.
        epochs: done and in all, where it trains.
        loss, images_per_second: of the last epoch.
        seconds_left: until the training's end, as fast as so far.
        note: which process on which machine, or why it failed.
    """

    folder: str
    state: State
    epochs: tuple[int, int] | None = None
    loss: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    note: str = ""


def statuses(output: Path) -> list[RunStatus]:
    """Return every run that is planned or was begun below a folder, in the folders' order.

    Raises:
        ValueError: the folder does not exist, or holds no runs.
    """
    if not output.is_dir():
        raise ValueError(f"{output} is not a folder; give one that `run` or `train` wrote.")
    folders = {path.parent for path in output.rglob(SETTINGS)}
    for plan in output.rglob(PLAN):
        folders |= {plan.parent / name for name in planned_folders(plan.parent)}
    if not folders:
        raise ValueError(f"{output} holds no runs; give a folder that `run` or `train` wrote.")
    return [_status(folder, str(folder.relative_to(output))) for folder in sorted(folders)]


def _status(folder: Path, name: str) -> RunStatus:
    if (folder / RESULTS).is_file():
        return RunStatus(name, "finished")
    worker = worker_in(folder)
    if worker is not None:
        return RunStatus(name, "running", **_progress(folder), note=worker)
    if (folder / FAILED).is_file():
        reason = str(_json(folder / FAILED).get("error", "unknown"))
        return RunStatus(name, "failed", **_progress(folder), note=reason)
    state: State = "stopped" if (folder / SETTINGS).is_file() else "waiting"
    return RunStatus(name, state, **_progress(folder))


def _progress(folder: Path) -> dict[str, Any]:
    """Return epochs, loss, rate and time left, as far as run.json and log.jsonl tell."""
    rows = list(_rows(folder / LOG))
    train = _json(folder / SETTINGS).get("train")
    epochs = train.get("epochs") if isinstance(train, dict) else None
    if not rows or type(epochs) is not int or epochs > 10**9:
        return {}
    done = len(rows)
    last = {name: value for name, value in rows[-1].items() if type(value) is float}
    return {
        "epochs": (done, epochs),
        "loss": last.get("loss"),
        "images_per_second": last.get("images_per_second"),
        "seconds_left": last.get("seconds", 0.0) / done * (epochs - done),
    }


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        with suppress(ValueError, RecursionError):  # being written, or damaged: this only looks
            if isinstance(row := json.loads(line), dict):
                yield row


def _json(path: Path) -> dict[str, Any]:
    """Return a JSON object; an empty one where it is being written, or damaged."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def seconds_left(found: list[RunStatus], output: Path) -> float | None:
    """Estimate when all are finished: as fast as the runs finished so far, in this folder.

    None before two runs are finished.
    """
    ends = sorted(
        (output / run.folder / RESULTS).stat().st_mtime for run in found if run.state == "finished"
    )
    left = sum(run.state in ("running", "waiting") for run in found)
    if len(ends) < 2 or not left:
        return None
    pace = (ends[-1] - ends[0]) / (len(ends) - 1)
    return max(0.0, pace * left - (time.time() - ends[-1]))
