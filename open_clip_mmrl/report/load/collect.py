"""Find results.json files: which count, which are left out, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...experiments.results import RESULTS
from ...utils.text import listing
from .run import FROZEN, Run, read_run
from .settings import TEST_IMAGES
from .trials import Comparison, compare


@dataclass(frozen=True)
class Collected:
    """The runs that count, and sentences about those that do not."""

    runs: tuple[Run, ...]
    """Of each place in the protocols' tables, those with one choice of settings."""
    notes: tuple[str, ...]
    compared: tuple[Comparison, ...]
    """Runs of one data set with different settings, side by side."""


def collect(folders: Sequence[str | Path]) -> Collected:
    """Read all runs at or below the folders, each once, in the order of folders and paths.

    Of several runs with one place in the report and one seed, one counts: those settings that
    most runs share, then the first path. Others are compared with them, and where they are not,
    the notes name them unless they have the very same scores; so they do files that cannot be
    read.

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
    kept, left_out = _one_for_each_seed(runs)
    compared = compare(runs, [run for run, _ in left_out])
    shown = {run.path for comparison in compared for run in comparison.runs()}
    elsewhere = [run for run, _ in left_out if run.path in shown]
    if elsewhere:
        folders = listing((run.path.parent for run in elsewhere), 3)
        notes.append(
            "The protocols' tables and figures are of one choice of settings each, that of most "
            f"runs; without {folders}, which are compared side by side."
        )
    rivals = (_left_out(*pair) for pair in left_out if pair[0] not in elsewhere)
    return Collected(tuple(kept), (*notes, *rivals, *_mixed(kept)), tuple(compared))


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


def _one_for_each_seed(runs: Iterable[Run]) -> tuple[list[Run], list[tuple[Run, Run]]]:
    """Return the runs that count; then every other one, with the run that counts instead."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(_place(run), []).append(run)
    kept, left_out = [], []
    for rivals in groups.values():
        by_settings: dict[str, dict[tuple[str, int], Run]] = {}
        for run in rivals:
            by_settings.setdefault(_settings(run), {}).setdefault((run.point, run.result.seed), run)
        chosen = list(max(by_settings.values(), key=len).values())
        kept += chosen
        for run in rivals:
            if run not in chosen and not any(_same(run, other) for other in chosen):
                left_out.append((run, chosen[0]))
    return kept, left_out


def _place(run: Run) -> tuple[Any, ...]:
    """Return what runs share that may differ in the seed only, or in the shots of few-shot."""
    if run.series == FROZEN:
        return run.series, run.setup[:4], run.result.dataset
    return run.series, run.setup, run.result.dataset, run.result.ablation and run.point


def _settings(run: Run) -> str:
    """Return the settings as one text, without those that runs of one place may differ in."""
    free = ("data_root", TEST_IMAGES, "shots")  # shots are a part of the place, or a point
    return json.dumps({k: v for k, v in run.settings.items() if k not in free}, sort_keys=True)


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
