"""Find results.json files: which count, which are left out, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...experiments.results import RESULTS
from .run import FROZEN, Run, read_run


@dataclass(frozen=True)
class Collected:
    """The runs that count, and sentences about those that do not."""

    runs: tuple[Run, ...]
    notes: tuple[str, ...]


def collect(folders: Sequence[str | Path]) -> Collected:
    """Read all runs at or below the folders, each once, in the order of folders and paths.

    Of several runs with one place in the report and one seed, one counts: those settings that
    most seeds share, then the first path. The notes name the others unless they have the very
    same scores, and files that cannot be read.

    Raises:
        UsageError: no folders, or one that does not exist.
        ValueError: not a single result in them.
    """
    runs, notes = [], []
    for path in _find(folders):
        try:
            runs.append(read_run(path))
        except (ValueError, OSError) as error:
            notes.append(f"Left out: {error}.")
    if not runs:
        where = ", ".join(str(folder) for folder in folders)
        nothing = f"There is no {RESULTS} that can be read at or below {where}."
        raise ValueError(" ".join([nothing, *notes]))
    kept, rivals = _one_for_each_seed(runs)
    return Collected(tuple(kept), (*notes, *rivals, *_mixed(kept)))


def _find(folders: Sequence[str | Path]) -> list[Path]:
    if not folders:
        raise UsageError("report needs at least one folder with results.")
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise UsageError(f"{folder} does not exist or is not a folder.")
        for path in sorted(folder.glob(f"**/{RESULTS}")):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _one_for_each_seed(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(_place(run), []).append(run)
    kept, notes = [], []
    for rivals in groups.values():
        by_settings: dict[str, dict[int, Run]] = {}
        for run in rivals:
            by_settings.setdefault(_settings(run), {}).setdefault(run.result.seed, run)
        chosen = list(max(by_settings.values(), key=len).values())
        kept += chosen
        for run in rivals:
            if run not in chosen and not any(_same(run, other) for other in chosen):
                notes.append(_left_out(run, chosen[0]))
    return kept, notes


def _place(run: Run) -> tuple[Any, ...]:
    """Return what runs share that differ in the seed only."""
    if run.series == FROZEN:
        return run.series, run.setup[:4], run.result.dataset
    return run.series, run.setup, run.result.dataset, run.point


def _settings(run: Run) -> str:
    return json.dumps(run.settings, sort_keys=True)


def _same(run: Run, other: Run) -> bool:
    """Return whether both runs have the same seed, settings and scores."""
    first, second = (
        (one.result.seed, one.scores, one.result.targets, _settings(one)) for one in (run, other)
    )
    return first == second


def _left_out(run: Run, other: Run) -> str:
    ours, theirs = run.settings, other.settings
    changes = ", ".join(
        f"{name} is {ours.get(name)!r}, not {theirs.get(name)!r}"
        for name in {**theirs, **ours}
        if ours.get(name) != theirs.get(name)
    )
    why = f"other settings ({changes})" if changes else "the same settings and seed"
    return f"{run.path} is left out in favor of {other.path}: {why}."


def _mixed(runs: Sequence[Run]) -> Iterator[str]:
    """Yield a sentence where runs differ in the images of a data set, or in their environment."""
    for name in dict.fromkeys(run.result.dataset for run in runs):
        sizes = [run.result.sizes for run in runs if run.result.dataset == name]
        mixed = _differing([one.to_json() if one else {} for one in sizes])
        if mixed:
            yield f"The runs on {name} had different images; they differ in {mixed}."
    mixed = _differing([run.result.environment.to_json() for run in runs])
    if mixed:
        yield f"The runs come from different environments; they differ in {mixed}."


def _differing(found: Sequence[Mapping[str, Any]]) -> str:
    """Return what is not the same in all of them, with its values; empty where everything is."""
    values: dict[str, dict[str, None]] = {}
    for name in dict.fromkeys(name for one in found for name in one):
        for one in found:
            value = one.get(name)
            values.setdefault(name, {})["not recorded" if value is None else str(value)] = None
    return ", ".join(f"{name} ({', '.join(v)})" for name, v in values.items() if len(v) > 1)
