"""Answers as text: JSON and CSV."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..utils.files import atomic_file
from ..utils.text import printable, to_csv

if TYPE_CHECKING:
    from ..evaluation.answers import Answer, RankedClass

Format = Literal["csv", "json", "jsonl"]


def json_lines(answers: Iterable[Answer], new: bool) -> Iterator[str]:
    """Yield one JSON object per line.

    Args:
        answers: with `top` classes each, or an error.
        new: whether the ranking has new classes; then the ones among the answers are listed.
    """
    for answer in answers:
        found: dict[str, object] = {
            "image": answer.image,
            "classes": {one.name: round(one.probability, 4) for one in answer.classes},
        }
        if new:
            found["new"] = [one.name for one in answer.classes if not one.seen]
        if answer.set is not None:
            found["set"] = list(answer.set)
        if answer.rejected is not None:
            found["rejected"] = answer.rejected
        if answer.error:
            found["error"] = answer.error
        yield json.dumps(found) + "\n"


def json_document(answers: Iterable[Answer], new: bool) -> Iterator[str]:
    """Yield one JSON array of the objects of `json_lines`."""
    before = "[\n"
    for line in json_lines(answers, new):
        yield before + line.rstrip("\n")
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


def csv_lines(
    answers: Iterable[Answer], new: bool, top: int, judged: Sequence[str] = ()
) -> Iterator[str]:
    """Yield CSV: a header, then a line per image with `top` classes and their probabilities.

    Args:
        answers: with `top` classes each, or an error.
        new: whether the ranking has new classes.
        top: classes per answer.
        judged: further columns, of "set" (names, joined by "; ") and "rejected".
    """
    ranks = range(1, top + 1)
    names = ["class_{}", "probability_{}", *(["new_{}"] if new else [])]
    ranked = (name.format(rank) for rank in ranks for name in names)
    yield to_csv([["image", *ranked, *judged, "error"]])
    for answer in answers:
        cells = [cell for one in answer.classes for cell in _cells(one, new)]
        cells += [""] * (top * len(names) - len(cells))
        cells += [_JUDGED[column](answer) for column in judged]
        yield to_csv([[answer.image, *cells, answer.error]])


_JUDGED: dict[str, Callable[[Answer], str]] = {
    "set": lambda answer: "; ".join(answer.set or ()),
    "rejected": lambda answer: "" if answer.rejected is None else str(answer.rejected).lower(),
}


def _cells(one: RankedClass, new: bool) -> list[str]:
    flag = ["false" if one.seen else "true"] if new else []
    return [one.name, f"{one.probability:.4f}", *flag]


def texts(
    kind: Format, answers: Iterable[Answer], new: bool, top: int, judged: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the answers in a format, piece by piece; see `csv_lines`."""
    if kind == "csv":
        return csv_lines(answers, new, top, judged)
    return (json_document if kind == "json" else json_lines)(answers, new)


def write(pieces: Iterable[str], output: Path | None) -> None:
    """Write a text as it comes: to a file, which appears when it is whole, or standard output."""
    if output is None:
        stream = sys.stdout  # kept: while a progress bar is shown, there is another
        for piece in pieces:
            stream.write(printable(piece))
        return
    with atomic_file(output) as file:
        for piece in pieces:
            file.write(piece.encode("utf-8", "surrogateescape"))
