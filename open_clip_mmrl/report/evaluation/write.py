"""The files of an evaluation: a page, all predictions as CSV, all numbers as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data import Example
from ...errors import UsageError
from ...evaluation.assessment import Assessment
from ...utils.files import json_bytes, write_atomically
from ...utils.text import printable, to_csv
from ..render.page import render_page
from .images import data_uri, image_names, short_names
from .matrix import confusion_matrix
from .tables import bins_table, classes_table, models_table, pairs_table

PAGE, PREDICTIONS, NUMBERS = "index.html", "predictions.csv", "eval.json"
MAX_MISTAKES = 60
"""Images in the page; all are in the CSV file."""
_COLUMNS = "file,true,predicted,confidence,correct,true_class_probability"
_STARTS = {
    PAGE: b"<!DOCTYPE html>\n<!-- open-clip-mmrl eval -->",
    PREDICTIONS: _COLUMNS.encode(),
    NUMBERS: b'{\n  "adapter":',
}
"""How our own files begin, which may be replaced."""


@dataclass(frozen=True, eq=False)  # eq: examples and tensors have none
class Evaluation:
    """One adapter's answers to one split of a data set."""

    title: str
    facts: Mapping[str, str]
    """What was scored and how, for the top of the page."""
    method: str
    class_names: Sequence[str]
    split: str
    examples: Sequence[Example]
    adapted: Assessment
    frozen: Assessment
    numbers: Mapping[str, Any]
    """All of it as JSON."""


@dataclass(frozen=True)
class Mistake:
    """A wrong answer, as the page shows it."""

    image: str
    file: str
    true: str
    predicted: str
    confidence: float
    of_true_class: float
    """Both in percent."""


def require_free(folder: Path) -> None:
    """Refuse a folder whose files of the same names are not ours.

    Raises:
        UsageError: there is such a file, or `folder` is one.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give a folder for the page.")
    for name, start in _STARTS.items():
        path = folder / name
        if path.exists() and not (path.is_file() and _begins(path, start)):
            raise UsageError(
                f"{path} was not written by `eval` and would be lost; give another folder."
            )


def write_evaluation(folder: Path, evaluation: Evaluation) -> Path:
    """Write the page, the predictions and the numbers; return the page's path.

    Earlier ones are replaced, other files in the folder are left alone.

    Raises:
        UsageError: see `require_free`.
        ValueError: an image of the page cannot be read any more; nothing is written.
        OSError: a file cannot be written; the message names it.
    """
    require_free(folder)
    files = {
        PREDICTIONS: predictions_csv(evaluation).encode(),
        NUMBERS: json_bytes(dict(evaluation.numbers)),
        PAGE: evaluation_page(evaluation).encode(),
    }
    for name, content in files.items():
        write_atomically(folder / name, content)
    return folder / PAGE


def predictions_csv(evaluation: Evaluation) -> str:
    """Return one line per image, in the order of the data set; probabilities are 0 to 1."""
    lines: list[list[object]] = [[*_COLUMNS.split(",")]]
    found, names = evaluation.adapted, _shown(evaluation.class_names)
    files = _shown(image_names(evaluation.examples, evaluation.split))
    columns = (found.labels, found.answers, found.confidence, found.of_true_class)
    rows = zip(files, *(column.tolist() for column in columns), strict=True)
    for file, true, answer, confidence, of_true in rows:
        correct = "true" if answer == true else "false"
        lines.append(
            [file, names[true], names[answer], f"{confidence:.6f}", correct, f"{of_true:.6f}"]
        )
    return to_csv(lines)


def evaluation_page(evaluation: Evaluation) -> str:
    """Return the page, which needs no other file: no links out, no scripts."""
    adapted, frozen = evaluation.adapted, evaluation.frozen
    wrong = adapted.mistakes()
    return render_page(
        "evaluation.html.jinja",
        Path(__file__).parent,
        title=printable(evaluation.title, keep=""),
        facts={name: printable(text, keep="") for name, text in evaluation.facts.items()},
        models=models_table(evaluation.method, adapted, frozen),
        pairs=pairs_table(adapted),
        matrix=confusion_matrix(adapted.confusions),
        mistakes=_mistakes(evaluation, wrong[:MAX_MISTAKES]),
        total_mistakes=len(wrong),
        total=len(adapted.labels),
        bins=adapted.bins,
        bins_table=bins_table(adapted),
        calibration_error=adapted.calibration_error,
        classes_table=classes_table(adapted, frozen),
        predictions=PREDICTIONS,
    )


def _mistakes(evaluation: Evaluation, indices: Sequence[int]) -> list[Mistake]:
    found, names = evaluation.adapted, _shown(evaluation.class_names)
    files = _shown(short_names(image_names(evaluation.examples, evaluation.split)))
    return [
        Mistake(
            image=data_uri(evaluation.examples[i]),
            file=files[i],
            true=names[int(found.labels[i])],
            predicted=names[int(found.answers[i])],
            confidence=100 * float(found.confidence[i]),
            of_true_class=100 * float(found.of_true_class[i]),
        )
        for i in indices
    ]


def _shown(names: Sequence[str]) -> list[str]:
    """Return names as text that can be encoded and does not command a terminal."""
    return [printable(name, keep="") for name in names]


def _begins(path: Path, start: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(start)) == start
