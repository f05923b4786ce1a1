"""The tables of an evaluation's page."""

from __future__ import annotations

from ...evaluation.assessment import Assessment
from ..tables.table import Column, Number, Row, Table, grouped, percent, text_columns

MAX_PAIRS = 20


def models_table(method: str, adapted: Assessment, frozen: Assessment) -> Table:
    """Return accuracies and calibration error, frozen CLIP's in the first line."""
    rows = tuple(
        Row(
            (
                name,
                Number(model.confusions.accuracy),
                Number(model.confusions.balanced_accuracy),
                Number(model.calibration_error),
            )
        )
        for name, model in (("frozen CLIP", frozen), (method, adapted))
    )
    columns = (
        *text_columns("model"),
        *grouped("", ["accuracy", "balanced accuracy", "calibration error"]),
    )
    notes = (
        "All in %. The balanced accuracy is the mean of the classes' recalls; the calibration "
        "error is the mean distance of confidence and accuracy, over 15 bins (ECE).",
    )
    return Table("models", "Accuracy", columns, rows, notes)


def classes_table(adapted: Assessment, frozen: Assessment) -> Table:
    """Return recall and precision of every class, the lowest recall first."""
    of_frozen = {one.name: one.recall for one in frozen.confusions.classes}
    found = adapted.confusions.worst()
    found += [one for one in adapted.confusions.classes if one.recall is None]
    rows = []
    for one in found:
        before = of_frozen[one.name]
        change = None if one.recall is None or before is None else one.recall - before
        cells = (
            one.name,
            Number(one.images, "count"),
            percent(one.recall),
            percent(before),
            None if change is None else Number(change, "difference"),
            percent(one.precision),
            Number(one.answers, "count"),
        )
        rows.append(Row(cells))
    columns = (
        *text_columns("class"),
        *map(Column, ["images", "recall", "recall, frozen CLIP", "change", "precision", "answers"]),
    )
    notes = (
        "Recall: the share of a class's images that were recognized. Precision: the share of the "
        "answers naming the class that were right. Both in %.",
    )
    return Table(
        "classes", f"All {len(rows)} classes, the worst first", columns, tuple(rows), notes
    )


def pairs_table(adapted: Assessment) -> Table:
    """Return the most frequent confusions."""
    pairs = adapted.confusions.pairs
    images = {one.name: one.images for one in adapted.confusions.classes}
    rows = tuple(
        Row(
            (
                pair.true,
                pair.predicted,
                Number(pair.count, "count"),
                Number(100 * pair.count / images[pair.true], "one"),
            )
        )
        for pair in pairs[:MAX_PAIRS]
    )
    columns = (
        *text_columns("true class", "taken for"),
        *map(Column, ["images", "% of the class"]),
    )
    more = len(pairs) - len(rows)
    notes = (f"{more:,} more in eval.json.",) if more > 0 else ()
    return Table("pairs", "Most frequent confusions", columns, rows, notes)


def bins_table(adapted: Assessment) -> Table:
    """Return the numbers of the reliability diagram, without empty bins."""
    rows = tuple(
        Row(
            (
                f"{one.low:.0f} to {one.high:.0f}",
                Number(one.images, "count"),
                percent(one.confidence),
                percent(one.accuracy),
            )
        )
        for one in adapted.bins
        if one.images
    )
    columns = (
        *text_columns("confidence"),
        *map(Column, ["images", "mean confidence", "accuracy"]),
    )
    return Table("bins", "The same as numbers, in %", columns, rows)
