"""A report as Markdown, and its tables as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...utils.text import markdown_text, to_csv
from ..document import Document, Footnote, Picture
from ..tables.table import Cell, Number, Row, Table, cell_text

FIGURES, TABLES = "figures", "tables"


def markdown(document: Document) -> str:
    """Return one page; pictures and long tables are linked."""
    footnotes = document.footnotes()

    def block(one: Table | Picture) -> list[str]:
        return _picture(one) if isinstance(one, Picture) else _table(one, footnotes[one.name])

    lines = [f"# {document.title}", "", " ".join(map(markdown_text, document.summary)), ""]
    lines += [line for one in document.opening for line in block(one)]
    if document.notes:
        lines += [
            "## What to know first",
            "",
            *(f"- {markdown_text(note)}" for note in document.notes),
            "",
        ]
    for part in document.parts:
        lines += [f"## {markdown_text(part.title)}", "", markdown_text(part.intro), ""]
        lines += [line for one in part.blocks for line in block(one)]
    return "\n".join(lines).rstrip() + "\n"


def csv_text(table: Table) -> str:
    """Return tidy CSV: the columns of words, then one line per number.

    `group` and `column` are the headings above the number, `std` and `seeds` what is known of it.
    A table of words only is written as it is.
    """
    keys = [column.label or "entry" for column in table.columns if column.text]
    if len(keys) == len(table.columns):
        return to_csv([keys, *(map(cell_text, row.cells) for row in table.rows)])
    lines: list[list[object]] = [[*keys, "group", "column", "value", "std", "seeds", "marks"]]
    for row in table.rows:
        head = [cell or "" for cell, c in zip(row.cells, table.columns, strict=True) if c.text]
        for cell, column in zip(row.cells, table.columns, strict=True):
            # Every number has its own number of seeds.
            if cell is not None and not column.text and column.label != "seeds":
                lines.append([*head, column.group, column.label, *_number(cell)])
    return to_csv(lines)


def _number(cell: Cell) -> list[str]:
    if not isinstance(cell, Number):
        return [str(cell), "", "", ""]
    std = "" if cell.std is None else f"{cell.std:.4f}"
    seeds = "" if cell.seeds is None else str(cell.seeds)
    return [f"{cell.value:.4f}".rstrip("0").rstrip("."), std, seeds, cell.marks]


def _picture(picture: Picture) -> list[str]:
    title = markdown_text(picture.title)
    link = f"![{title}]({FIGURES}/{picture.name}.png)"
    return [f"### {title}", "", link, "", markdown_text(picture.caption), ""]


def _table(table: Table, footnotes: Sequence[Footnote]) -> list[str]:
    lines = [f"### {markdown_text(table.title)}", ""]
    if table.folded:
        return [*lines, f"{len(table.rows)} rows: [CSV]({TABLES}/{table.name}.csv).", ""]
    heads = [f"{c.group} {c.label}".strip() if c.group else c.label for c in table.columns]
    rules = ["---" if column.text else "---:" for column in table.columns]
    lines += [
        _line(map(markdown_text, heads)),
        _line(rules),
        *(_row(row) for row in table.rows),
        "",
    ]
    lines += [f"- {note.mark} {markdown_text(note.text)}" for note in footnotes if note.first]
    above = ", ".join(note.mark for note in footnotes if not note.first)
    lines += [f"- As above: {above}"] if above else []
    return [*lines, ""] if footnotes else lines


def _row(row: Row) -> str:
    cells = [markdown_text(cell_text(cell)) for cell in row.cells]
    if row.role == "average":
        cells = [f"**{cell}**" for cell in cells]
    return _line(cells)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
