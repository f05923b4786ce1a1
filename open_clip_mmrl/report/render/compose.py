"""What a report consists of: every section's tables and figures, cost, environment, summary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from ..document import Document, Part, Picture
from ..figures.bars import WHOLE, change_bars
from ..figures.curves import few_shot_curves, sweep_curves, sweep_each
from ..figures.dots import difference_dots
from ..figures.drawing import disable_mathtext, style_context
from ..figures.radar import radar
from ..figures.tradeoff import alpha_paths
from ..load.arrange import arrange
from ..load.collect import Collected
from ..load.sections import FROZEN, Frame, Section, Series
from ..tables.ablation import NAMES, ablation_tables
from ..tables.base_to_novel import base_to_novel_tables
from ..tables.compared import LABELS, Place, averaged, dataset_name, references, subtracted
from ..tables.costs import cost_table, environment_table, hours_of
from ..tables.few_shot import few_shot_tables
from ..tables.grid import Table, cell_text, file_name, scored
from ..tables.quality import quality_tables
from ..tables.transfer import transfer_tables

TITLES = {
    "base-to-novel": "Base-to-novel generalisation",
    "few-shot": "Few-shot learning",
    "cross-dataset": "Cross-dataset evaluation",
    "domain-generalization": "Domain generalization",
    "ablation": "Ablation",
}
_INTROS = {
    "base-to-novel": "Trained on the first half of the classes; tested on both halves.",
    "few-shot": "Trained and tested on all classes.",
    "cross-dataset": "Trained on one data set, tested on others without further training.",
    "domain-generalization": "Trained on one data set, tested on others of the same classes.",
    "ablation": "One setting varied, everything else kept; base-to-novel accuracies.",
}


def compose(collected: Collected) -> Document:
    """The whole report of these runs."""
    found = arrange(collected.runs)
    parts = [_part(section, slug) for section, slug in zip(found, _slugs(found), strict=True)]
    cost = cost_table(found)
    if cost:
        intro = "Of training and scoring; ablations are left out."
        parts.append(Part("cost", "Cost", intro, (cost,)))
    environment = environment_table(collected.runs)
    intro = "Versions, device and arithmetic, as every run recorded them."
    parts.append(Part("environment", "Environment", intro, (environment,)))
    return Document(
        title="MMRL and MMRL++: results",
        summary=tuple(_summary(collected, found)),
        notes=collected.notes,
        parts=tuple(parts),
    )


def _part(section: Section, slug: str) -> Part:
    return Part(slug, _title(section.frame), _intro(section.frame), tuple(_blocks(section, slug)))


def _blocks(section: Section, slug: str) -> Iterable[Table | Picture]:
    protocol = section.frame.protocol
    if protocol == "ablation":
        return _ablation_blocks(section, slug)
    tables: Callable[[Section, str], list[Table]] = {
        "base-to-novel": base_to_novel_tables,
        "few-shot": few_shot_tables,
    }.get(protocol, transfer_tables)
    pictures = {
        "base-to-novel": [radar, difference_dots, alpha_paths],
        "few-shot": [few_shot_curves],
    }.get(protocol, [difference_dots])
    drawn = [_drawn(draw, section, slug) for draw in pictures]
    found = [picture for picture in drawn if picture]
    return [*found, *tables(section, slug), *quality_tables(section, slug)]


def _drawn(draw: Callable, *args: Any) -> Picture | None:
    with style_context():
        picture = draw(*args)
    if picture:
        disable_mathtext(picture.figure)
    return picture


def _ablation_blocks(section: Section, slug: str) -> Iterable[Table | Picture]:
    drawings = [change_bars] if section.frame.sweep in WHOLE else [sweep_curves, sweep_each]
    for series in section.series:
        own = slug if len(section.series) == 1 else f"{slug}-{file_name(section.label(series))}"
        for draw in drawings:
            picture = _drawn(draw, section, series, own)
            if picture:
                yield picture
    yield from ablation_tables(section, slug)


def _title(frame: Frame) -> str:
    what = TITLES[frame.protocol] + (f", {NAMES[frame.sweep]}" if frame.sweep else "")
    return f"{what}: {frame.backbone}, {frame.pretrained} weights{_shots(frame)}"


def _shots(frame: Frame) -> str:
    """Said where they are not the usual ones."""
    return f", {frame.shots} shots" if frame.shots not in (None, 16) else ""


def _intro(frame: Frame) -> str:
    sentences = [_INTROS[frame.protocol]]
    if frame.source:
        sentences.append(f"Source: {dataset_name(frame.source)}.")
    if frame.shots:
        sentences.append(f"{frame.shots} shots per class.")
    if frame.test_split != "test":
        sentences.append(f"Tested on the {frame.test_split} images, not on the test images.")
    sentences.append(
        "Accuracies in percent; ± is the standard deviation over seeds (n - 1), - stands for what "
        "is not there."
    )
    return " ".join(sentences)


def _slugs(found: Sequence[Section]) -> list[str]:
    """Names for files and anchors: the protocol, and more only where it is needed."""
    slugs: list[str] = []
    for section in found:
        frame = section.frame
        slug = "-".join(filter(None, (frame.protocol, frame.sweep))).replace("_", "-")
        alike = sum(s == slug or s.startswith(f"{slug}-part") for s in slugs)
        slugs.append(f"{slug}-part{alike + 1}" if alike else slug)
    return slugs


def _summary(collected: Collected, found: Sequence[Section]) -> Iterable[str]:
    runs = collected.runs
    names = {run.dataset for run in runs} | {name for run in runs for name in run.targets}
    seeds = sorted({run.seed for run in runs if run.method != FROZEN.method})
    listed = f", seeds {', '.join(map(str, seeds))}" if seeds else ""
    yield (
        f"{len(runs):,} runs on {len(names)} data set{'s' if len(names) > 1 else ''}{listed}; "
        f"{hours_of(runs):,.2f} hours of training. Made {datetime.now():%Y-%m-%d %H:%M}."
    )
    for section in found:
        if section.frame.protocol != "ablation":
            yield from _headlines(section)


def _named(section: Section, series: Series) -> str:
    """A method with the source of its settings, whether or not another series has the same."""
    label = section.label(series)
    told = series.settings is None or series.settings in label
    return label if told else f"{label} with {series.settings} settings"


def _headlines(section: Section) -> Iterable[str]:
    """Every method's average, beside the published one where it may stand there."""
    frame = section.frame
    metric = "hm" if frame.protocol == "base-to-novel" else "accuracy"
    point = section.points[-1] if frame.protocol == "few-shot" and section.points else None
    for series in section.series:
        names = averaged(section, section.present(series, metric, point))
        score = section.average(series, names, metric, point)
        if score is None:
            continue
        what = f"average over {len(names)}" if len(names) > 1 else dataset_name(names[0])
        shots = f", {point} shots" if point and series != FROZEN else _shots(frame)
        text = (
            f"{frame.protocol}{shots}, {frame.backbone} ({frame.pretrained}), "
            f"{_named(section, series)}: {LABELS[metric]} {cell_text(scored(score))} ({what})"
        )
        for ref in references(section, series, frame.protocol)[:1]:
            theirs = ref.average(frame.protocol, series.method, names, metric, point)
            minus = subtracted(section, series, Place("", tuple(names)), metric, theirs, point)
            if minus:
                text += f"; {ref.title} {theirs:.2f}, difference {cell_text(minus)}"
        yield f"{text}."
