"""The document of a report: its opening, every section's pictures and tables, cost, environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..utils.text import counted
from .document import Document, Part, Picture
from .figures.bars import FULL, change_bars
from .figures.curves import few_shot_curves, sweep_curves, sweep_each
from .figures.dots import difference_dots
from .figures.drawing import disable_mathtext, style_context
from .figures.radar import radar
from .figures.tradeoff import alpha_paths
from .load.arrange import arrange
from .load.collect import Collected
from .load.run import Setup
from .load.sections import Section
from .load.trials import Comparison
from .opening import opening, trial_picture
from .tables.ablation import NAMES, ablation_tables, series_slug
from .tables.base_to_novel import base_to_novel_tables
from .tables.beyond_paper import beyond_paper_tables
from .tables.comparison import dataset_name
from .tables.costs import cost_table, environment_table
from .tables.few_shot import few_shot_tables
from .tables.paired import paired_tables
from .tables.table import Table
from .tables.transfer import transfer_tables
from .tables.trials import sorted_by, trial_table

Block = Table | Picture
PICTURED = 30
"""Trials in one picture, at most."""
TITLES = {
    "base-to-novel": "Base-to-novel generalization",
    "few-shot": "Few-shot learning",
    "cross-dataset": "Cross-dataset evaluation",
    "domain-generalization": "Domain generalization",
    "ablation": "Ablation",
}
_INTROS = {
    "base-to-novel": "Trained on the first half of the classes; tested on base and novel classes.",
    "few-shot": "Trained and tested on all classes.",
    "cross-dataset": "Trained on one data set, tested on others without further training.",
    "domain-generalization": "Trained on one data set, tested on others of the same classes.",
    "ablation": "One setting varied, everything else kept; base-to-novel accuracies.",
}
_TABLES: dict[str, Callable[[Section, str], list[Table]]] = {
    "base-to-novel": base_to_novel_tables,
    "few-shot": few_shot_tables,
    "cross-dataset": transfer_tables,
    "domain-generalization": transfer_tables,
}
_PICTURES: dict[str, list[Callable[[Section, str], Picture | None]]] = {
    "base-to-novel": [radar, difference_dots, alpha_paths],
    "few-shot": [few_shot_curves],
    "cross-dataset": [difference_dots],
    "domain-generalization": [difference_dots],
}


def compose(collected: Collected) -> Document:
    """Return the whole report of these runs."""
    sections = arrange(collected.runs)
    first = opening(collected, sections)
    parts = [*_compared(collected.compared, first.table)]
    parts += [
        Part(slug, _title(section.setup), _intro(section.setup), tuple(_blocks(section, slug)))
        for section, slug in zip(sections, _slugs(sections), strict=True)
    ]
    cost = cost_table(sections)
    if cost:
        intro = "Of training and scoring; ablations are left out."
        parts.append(Part("cost", "Cost", intro, (cost,)))
    environment = environment_table(collected.runs)
    intro = "Versions, device and arithmetic, as every run recorded them."
    parts.append(Part("environment", "Environment", intro, (environment,)))
    return Document(
        title="MMRL and MMRL++: results",
        summary=first.sentences,
        opening=tuple(block for block in (first.table, first.picture) if block),
        notes=collected.notes,
        parts=tuple(parts),
    )


def _compared(comparisons: Sequence[Comparison], first: Table) -> Iterator[Part]:
    """Yield a part on the runs side by side, unless the report opens with all of it."""
    blocks: list[Block] = []
    for i, comparison in enumerate(comparisons):
        name = f"runs{i + 1}" if len(comparisons) > 1 else "runs"
        table = trial_table(comparison, name)
        if (table.columns, table.rows) != (first.columns, first.rows):
            with style_context():
                picture = trial_picture(comparison, name, PICTURED)
            blocks += [block for block in (table, picture) if block]
    if blocks:
        said = " ".join(dict.fromkeys(map(sorted_by, comparisons)))
        yield Part("runs", "Runs side by side", said, tuple(blocks))


def _blocks(section: Section, slug: str) -> Iterator[Block]:
    with style_context():
        pictures = list(_pictures(section, slug))
    for picture in pictures:
        disable_mathtext(picture.figure)
    yield from pictures
    if section.setup.sweep:
        yield from ablation_tables(section, slug)
    else:
        yield from _TABLES[section.setup.protocol](section, slug)
        yield from paired_tables(section, slug)
        yield from beyond_paper_tables(section, slug)


def _pictures(section: Section, slug: str) -> Iterator[Picture]:
    if not section.setup.sweep:
        drawn = [draw(section, slug) for draw in _PICTURES[section.setup.protocol]]
    else:
        drawings = [change_bars] if section.setup.sweep in FULL else [sweep_curves, sweep_each]
        drawn = [
            draw(section, series, series_slug(section, series, slug))
            for series in section.series
            for draw in drawings
        ]
    yield from (picture for picture in drawn if picture)


def _title(setup: Setup) -> str:
    what = TITLES[setup.protocol] + (f", {NAMES[setup.sweep]}" if setup.sweep else "")
    split = "" if setup.test_split == "test" else ", validation images"
    return f"{what}: {setup.backbone}, {setup.pretrained} weights{_shots_text(setup)}{split}"


def _shots_text(setup: Setup) -> str:
    """Return the shots where they are not the usual 16."""
    if setup.shots is None or setup.shots == 16:
        return ""
    return f", {counted(setup.shots, 'shot')}"


def _intro(setup: Setup) -> str:
    sentences = [_INTROS[setup.protocol]]
    if setup.source:
        sentences.append(f"Source: {dataset_name(setup.source)}.")
    if setup.shots:
        sentences.append(f"{counted(setup.shots, 'shot')} per class.")
    if setup.test_split != "test":
        sentences.append(f"Tested on the {setup.test_split} images, not on the test images.")
    sentences.append(
        "Accuracies in percent; ± is the standard deviation over seeds (n - 1), - marks what is "
        "not there."
    )
    return " ".join(sentences)


def _slugs(sections: Sequence[Section]) -> list[str]:
    """Return names for files and anchors: the protocol, and more only where it is needed."""
    slugs: list[str] = []
    for section in sections:
        slug = "-".join(filter(None, (section.setup.protocol, section.setup.sweep)))
        slug = slug.replace("_", "-")
        alike = sum(s == slug or s.startswith(f"{slug}-part") for s in slugs)
        slugs.append(f"{slug}-part{alike + 1}" if alike else slug)
    return slugs
