"""The sentences at the top of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from ..utils.text import counted, decimal
from .load.run import FROZEN, Run, Series, Setup
from .load.sections import Section
from .tables.builder import LABELS
from .tables.comparison import (
    dataset_name,
    datasets_to_average,
    difference,
    references_for,
)
from .tables.costs import hours_of
from .tables.table import cell_text, percent


def summary(runs: Sequence[Run], sections: Sequence[Section]) -> Iterator[str]:
    """Yield what was run, then every method's average; ablations have none."""
    names = {run.result.dataset for run in runs} | {n for run in runs for n in run.result.targets}
    seeds = sorted({run.result.seed for run in runs if run.series != FROZEN})
    listed = f", seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}" if seeds else ""
    yield (
        f"{counted(len(runs), 'run')} on {counted(len(names), 'data set')}{listed}; "
        f"{hours_of(runs):,.2f} hours of training. Made {datetime.now():%Y-%m-%d %H:%M}."
    )
    for section in sections:
        if not section.setup.sweep:
            lines = (_headline(section, series) for series in section.series)
            yield from (line for line in lines if line)


def shots_text(setup: Setup) -> str:
    """Return the shots where they are not the usual 16."""
    if setup.shots is None or setup.shots == 16:
        return ""
    return f", {counted(setup.shots, 'shot')}"


def _headline(section: Section, series: Series) -> str | None:
    """Return a method's average, and the published one where they compare."""
    setup = section.setup
    metric = "hm" if setup.protocol == "base-to-novel" else "accuracy"
    point = section.points[-1] if setup.protocol == "few-shot" and section.points else ""
    names = datasets_to_average(section, section.present(series, metric, point))
    score = section.average(series, names, metric, point)
    if score is None:
        return None
    label, settings = section.label(series), series.settings_source
    if settings and settings not in label:
        label += f" with {settings} settings"
    what = f"average over {len(names)}" if len(names) > 1 else dataset_name(names[0])
    shots = f", {counted(point, 'shot')}" if point and series != FROZEN else shots_text(setup)
    text = (
        f"{setup.protocol}{shots}, {setup.backbone} ({setup.pretrained}), "
        f"{label}: {LABELS[metric]} "
        f"{decimal(score.mean, std=score.std)} ({what})"
    )
    for ref in references_for(section, series, setup.protocol)[:1]:
        theirs = percent(ref.average(setup.protocol, series.method, names, metric, point))
        minus = difference(section, series, names, metric, theirs, point)
        if minus:
            text += f"; {ref.title} {cell_text(theirs)}, difference {cell_text(minus)}"
    return f"{text}."
