"""What `eval` prints: accuracies, classes, confusions."""

from __future__ import annotations

from rich import box
from rich.table import Table

from ..evaluation.class_metrics import Confusions
from ..utils.text import decimal
from .common import out, say
from .tables import scores_table

_MAX_CLASSES = 20
"""Of a whole table; of more classes the worst are shown."""
_WORST = 10
_MAX_PAIRS = 10


def print_evaluation(
    title: str, method: str, adapted: Confusions, frozen: Confusions, rest: str
) -> None:
    """Print both models' accuracies, then the adapted one's classes and confusions.

    `rest` says where those are that are not printed.
    """
    models = {
        name: {"accuracy": found.accuracy, "balanced accuracy": found.balanced_accuracy}
        for name, found in (("frozen CLIP", frozen), (method, adapted))
    }
    out.print(scores_table(title, models))
    _print_classes(adapted, rest)
    _print_pairs(adapted, rest)


def _print_classes(found: Confusions, rest: str) -> None:
    worst = found.worst()
    shown = worst if len(worst) <= _MAX_CLASSES else worst[:_WORST]
    table = _table("Classes, the worst first, in %", "class", "images", "recall", "precision")
    for one in shown:
        numbers = ("-" if v is None else decimal(v, 1) for v in (one.recall, one.precision))
        table.add_row(one.name, f"{one.images:,}", *numbers)
    out.print(table)
    if len(worst) > len(shown):
        say(f"{len(worst) - len(shown):,} more classes {rest}\n")


def _print_pairs(found: Confusions, rest: str) -> None:
    if not found.pairs:
        return
    table = _table("Most frequent confusions", "true class -> answer", "images")
    for pair in found.pairs[:_MAX_PAIRS]:
        table.add_row(f"{pair.true} -> {pair.predicted}", f"{pair.count:,}")
    out.print(table)
    more = len(found.pairs) - _MAX_PAIRS
    if more > 0:
        say(f"{more:,} more pairs {rest}\n")


def _table(title: str, first: str, *numbers: str) -> Table:
    table = Table(title=title, title_justify="left", min_width=len(title), box=box.SIMPLE_HEAD)
    table.add_column(first, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
