"""A report as Markdown, and its tables as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from ..document import Document, Picture
from ..tables.table import Cell, Number, Row, Table, cell_text

FIGURES, TABLES = "figures", "tables"


def markdown(document: Document) -> str:
    """Return one page; pictures and long tables are linked."""
    lines = [f"# {document.title}", "", *(f"- {line}" for line in document.summary), ""]
    if document.notes:
        lines += ["## What to know first", "", *(f"- {note}" for note in document.notes), ""]
    for part in document.parts:
        lines += [f"## {part.title}", "", part.intro, ""]
        for block in part.blocks:
            lines += _picture(block) if isinstance(block, Picture) else _table(block)
    return "\n".join(lines).rstrip() + "\n"


def csv_text(table: Table) -> str:
    """Return tidy CSV: the columns of words, then one line per number.

    `group` and `column` are the headings above the number, `std` and `seeds` what is known of it.
    A table of words only is written as it is.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    keys = [column.label or "entry" for column in table.columns if column.text]
    if len(keys) == len(table.columns):
        writer.writerow(keys)
        writer.writerows([cell_text(cell) for cell in row.cells] for row in table.rows)
        return stream.getvalue()
    writer.writerow([*keys, "group", "column", "value", "std", "seeds", "marks"])
    for row in table.rows:
        head = [cell or "" for cell, c in zip(row.cells, table.columns, strict=True) if c.text]
        for cell, column in zip(row.cells, table.columns, strict=True):
            # Every number has its own number of seeds.
            if cell is not None and not column.text and column.label != "seeds":
                writer.writerow([*head, column.group, column.label, *_number(cell)])
    return stream.getvalue()


def _number(cell: Cell) -> list[str]:
    if not isinstance(cell, Number):
        return [str(cell), "", "", ""]
    std = "" if cell.std is None else f"{cell.std:.4f}"
    seeds = "" if cell.seeds is None else str(cell.seeds)
    return [f"{cell.value:.4f}".rstrip("0").rstrip("."), std, seeds, cell.marks]


def _picture(picture: Picture) -> list[str]:
    link = f"![{picture.title}]({FIGURES}/{picture.name}.png)"
    return [f"### {picture.title}", "", link, "", picture.caption, ""]


def _table(table: Table) -> list[str]:
    lines = [f"### {table.title}", ""]
    if table.folded:
        return [*lines, f"{len(table.rows)} rows: [CSV]({TABLES}/{table.name}.csv).", ""]
    heads = [f"{c.group} {c.label}".strip() if c.group else c.label for c in table.columns]
    rules = ["---" if column.text else "---:" for column in table.columns]
    lines += [_line(heads), _line(rules), *(_row(row) for row in table.rows), ""]
    for note in table.notes:
        lines.append(f"- {note}")
    return [*lines, ""] if table.notes else lines


def _row(row: Row) -> str:
    cells = [cell_text(cell) for cell in row.cells]
    if row.role == "average":
        cells = [f"**{cell}**" for cell in cells]
    return _line(cells)


def _line(cells: Sequence[str]) -> str:
    shielded = (cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return f"| {' | '.join(shielded)} |"
