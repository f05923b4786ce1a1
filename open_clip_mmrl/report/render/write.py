"""Write a report's files from folders of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...utils.files import write_atomically
from ..compose import compose
from ..figures.drawing import image_bytes
from ..load.collect import collect
from ..tables.table import Table
from .page import html_page
from .text_files import FIGURES, TABLES, csv_text, markdown


@dataclass(frozen=True)
class Written:
    """The files of a report, and its first sentences."""

    markdown: Path
    html: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    summary: tuple[str, ...]
    opening: Table
    """The first table."""
    notes: tuple[str, ...]


def write_report(folders: Sequence[str | Path], output: str | Path | None = None) -> Written:
    """Read every results.json at or below the folders; write report.md, report.html and more.

    Args:
        folders: where to look for results.
        output: folder of the report; by default `report` in the first folder.

    Raises:
        UsageError: no folders, or one that does not exist.
        ValueError: not a single result that can be read.
    """
    document = compose(collect(folders))
    output = Path(folders[0]) / "report" if output is None else Path(output)
    svg = {picture.name: image_bytes(picture.figure, "svg") for picture in document.pictures()}
    files: dict[Path, bytes] = {}
    for picture in document.pictures():
        files[output / FIGURES / f"{picture.name}.svg"] = svg[picture.name]
        files[output / FIGURES / f"{picture.name}.png"] = image_bytes(picture.figure, "png")
    for table in document.tables():
        files[output / TABLES / f"{table.name}.csv"] = _utf8(csv_text(table))
    files[output / "report.md"] = _utf8(markdown(document))
    files[output / "report.html"] = _utf8(html_page(document, svg))
    for path, content in files.items():
        write_atomically(path, content)
    return Written(
        markdown=output / "report.md",
        html=output / "report.html",
        tables=tuple(path for path in files if path.suffix == ".csv"),
        figures=tuple(path for path in files if path.parent.name == FIGURES),
        summary=document.summary,
        opening=next(document.tables()),
        notes=document.notes,
    )


def _utf8(text: str) -> bytes:
    """Encode a text; bytes of file names that are no Unicode become escapes."""
    return text.encode("utf-8", "backslashreplace")
