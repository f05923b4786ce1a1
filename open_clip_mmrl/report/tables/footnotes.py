"""Footnotes of tables: what a reader has to know of a number, of settings and of sources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...config import VARIANTS
from ...data.coop.imagenet import naming_note
from ..load.published import Reference, published
from ..load.run import FROZEN, METHODS, Series
from ..load.sections import Section
from .comparison import comparable

SCATTER = 2.0
"""Standard deviation over seeds, in points, from which a novel accuracy is marked."""
SCATTERS = f"Seeds scatter: the novel accuracy's standard deviation is {SCATTER:g} points or more."
EUROSAT_SCATTERS = (
    "Known for EuroSAT: between the paper and an independent rerun of its code lie 8 points of "
    "novel accuracy."
)
SETTINGS = {
    "paper": "paper (per data set, chosen by its authors on test accuracy)",
    "fixed": "fixed (one for all data sets)",
    "validation": "validation (lambda, beta, alpha chosen on held-out training shots of each run)",
    "custom": "custom (given by hand)",
    "demo": "demo (chosen for the shipped demo)",
    None: "not recorded",
}
_RELEASED = (
    "paper (per data set, from the released configuration; that they were chosen on test images is "
    "inferred from it, not known)"
)
LINEAR_PROBE = (
    "linear probe: regularization chosen on up to 4 validation images per class where there are "
    "any, else on folds of the training images."
)
_CACHE = "alpha 1 and beta 5.5, its paper's defaults, not searched; novel classes as frozen CLIP."
BASELINES = {
    "linear_probe": LINEAR_PROBE,
    "tip_adapter": f"Tip-Adapter: {_CACHE}",
    "tip_adapter_f": f"Tip-Adapter-F: 20 epochs; {_CACHE}",
    "coop": "CoOp: 16 unified context vectors before the class name, its paper's settings.",
    "clip_lora": "CLIP-LoRA: rank 2 in both towers, its paper's settings, but at most 300 epochs.",
}
RERUN = (
    "rerun: an independent rerun of the authors' code, source not named; not the paper's results."
)
CONTEXT = (
    "Backbone, weights, shots, source or test split are not those of the published results, which "
    "are context here: no differences are given."
)
OTHER_SPLIT = "Not the paper's split: other images, or divided otherwise; no difference is given."


def settings_note(series: Series) -> str | None:
    """Return where the settings of a method come from, and how both features are mixed."""
    if series.method not in VARIANTS:
        return BASELINES.get(series.method)
    where = SETTINGS.get(series.settings_source, series.settings_source)
    if (series.method, series.settings_source) == ("mmrl++", "paper"):
        where = _RELEASED
    mixed = f"; features mixed as {series.fusion}" if series.fusion else ""
    return f"{METHODS[series.method]}: settings {where}{mixed}."


def sides_note(section: Section, series: Series) -> str | None:
    """Return where tokens are, if not in both towers; of an ablation its own table tells."""
    runs = [run for run in section.runs if run.series == series]
    sides = {run.result.config.get("token_sides") for run in runs}
    if section.setup.sweep or series.method not in VARIANTS or sides != {"image"}:
        return None
    return f"{METHODS[series.method]}: tokens on the image side only; text features are the base's."


def source_notes(section: Section, table: str, refs: Sequence[Reference]) -> list[str]:
    """Return what the results of others are, and why they are not subtracted, if so."""
    paper = published()
    published_note = (
        f"published: {paper.sources.get(table)} of the MMRL paper (CVPR 2025), {paper.backbone} "
        f"with {paper.pretrained} weights."
    )
    notes = [published_note if ref is paper else RERUN for ref in refs]
    return [*notes, CONTEXT] if refs and not comparable(section) else notes


def renamed_classes_note(datasets: Iterable[str]) -> str | None:
    """Return what renamed classes of ImageNet do to a difference; None where they do nothing."""
    notes = [note for name in datasets if (note := naming_note(name))]
    return f"ImageNet {notes[0]}." if notes else None


def precision_note(section: Section) -> str:
    """Return in which precision the published runs were computed, and in which ours."""
    ours = {
        run.result.environment.precision or "not recorded"
        for run in section.runs
        if run.series != FROZEN
    }
    return (
        "Published runs were trained in mixed precision and scored in fp32. Precision of ours, in "
        f"training and scoring: {', '.join(sorted(ours))}."
    )
