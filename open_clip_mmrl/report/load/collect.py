"""Finding results.json files: what counts, what is left out, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UsageError
from .run import ZERO_SHOT, Run, read_run

NAME = "results.json"


@dataclass(frozen=True)
class Collected:
    """The runs that count, and sentences about those that do not."""

    runs: tuple[Run, ...]
    notes: tuple[str, ...]


def collect(folders: Sequence[str | Path]) -> Collected:
    """All runs at or below the folders, each once, in the order of folders and paths.

    Of several runs for one place in a table and one seed, one counts: those settings that most
    seeds share, then the first path. The others are named in the notes unless they say the very
    same, and so are files that cannot be read.

    Raises:
        UsageError: no folders, or one that does not exist.
        ValueError: not a single result in them.
    """
    runs, notes = [], []
    for path in _find(folders):
        try:
            runs.append(read_run(path))
        except (ValueError, OSError) as error:
            notes.append(f"{path} is left out: {error}.")
    if not runs:
        where = ", ".join(str(folder) for folder in folders)
        raise ValueError(
            " ".join([f"There is no {NAME} that can be read at or below {where}.", *notes])
        )
    kept, rivals = _one_for_each_seed(runs)
    return Collected(tuple(kept), (*notes, *rivals, *_mixed_data(kept), *_mixed_environments(kept)))


def _find(folders: Sequence[str | Path]) -> list[Path]:
    if not folders:
        raise UsageError("report needs at least one folder with results.")
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise UsageError(f"{folder} does not exist or is not a folder.")
        for path in sorted(folder.glob(f"**/{NAME}")):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _one_for_each_seed(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    places: dict[tuple, list[Run]] = {}
    for run in runs:
        places.setdefault(_place(run), []).append(run)
    kept, notes = [], []
    for rivals in places.values():
        by_settings: dict[str, dict[int, Run]] = {}
        for run in rivals:
            by_settings.setdefault(_settings(run), {}).setdefault(run.seed, run)
        chosen = list(max(by_settings.values(), key=len).values())
        kept += chosen
        for run in rivals:
            if run not in chosen and not any(_twins(run, other) for other in chosen):
                notes.append(_left_out(run, chosen[0]))
    return kept, notes


def _place(run: Run) -> tuple:
    """Runs that differ in the seed only belong together here."""
    where = (run.method, run.backbone, run.pretrained, run.dataset, run.protocol, run.test_split)
    if run.method == ZERO_SHOT:
        return where
    return (*where, run.shots, run.settings, run.fusion, run.sweep, run.value)


def _settings(run: Run) -> str:
    return json.dumps(run.chosen, sort_keys=True)


def _twins(run: Run, other: Run) -> bool:
    """Whether a run says nothing that the other does not say."""
    same = (run.seed, run.scores, run.targets) == (other.seed, other.scores, other.targets)
    return same and _settings(run) == _settings(other)


def _left_out(run: Run, other: Run) -> str:
    ours, theirs = run.chosen, other.chosen
    changes = ", ".join(
        f"{name} is {ours.get(name)!r}, not {theirs.get(name)!r}"
        for name in {**theirs, **ours}
        if ours.get(name) != theirs.get(name)
    )
    why = f"other settings ({changes})" if changes else "the same settings and seed"
    return f"{run.path} is left out in favour of {other.path}: {why}."


def _mixed_data(runs: Sequence[Run]) -> list[str]:
    """A sentence for every data set that runs found with different images."""
    notes = []
    for name in dict.fromkeys(run.dataset for run in runs):
        mixed = _differing([run.sizes for run in runs if run.dataset == name])
        if mixed:
            notes.append(f"The runs on {name} had different images; they differ in {mixed}.")
    return notes


def _mixed_environments(runs: Sequence[Run]) -> list[str]:
    """A sentence where runs of different environments stand in one report."""
    mixed = _differing([run.environment for run in runs])
    return [f"The runs come from different environments; they differ in {mixed}."] if mixed else []


def _differing(found: Sequence[Mapping[str, Any]]) -> str:
    """What is not the same in all of them, with its values; empty where everything is."""
    values: dict[str, dict[str, None]] = {}
    for name in {name: None for one in found for name in one}:
        for one in found:
            values.setdefault(name, {})[str(one.get(name, "not recorded"))] = None
    return ", ".join(f"{name} ({', '.join(v)})" for name, v in values.items() if len(v) > 1)
