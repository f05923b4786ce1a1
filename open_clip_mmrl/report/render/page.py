"""A report as one HTML page that needs no other file: no links out, no scripts."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...utils.text import decimal
from ..document import Document, Picture
from ..tables.table import Cell, Column, Number, Table, cell_text

_FOLDER = Path(__file__).parent


def html_page(document: Document, svg: Mapping[str, bytes]) -> str:
    """Return the page; `svg` holds every picture of the document by name."""
    images = {
        name: f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
        for name, content in svg.items()
    }
    footnotes = document.footnotes()
    return render_page("page.html.jinja", document=document, footnotes=footnotes, images=images)


def render_page(template: str, *folders: Path, **values: Any) -> str:
    """Return a page from a template here, or in one of more folders, in the style of all pages."""
    environment = Environment(
        loader=FileSystemLoader([_FOLDER, *folders]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"anchor": _anchor, "decimal": decimal, "spans": _spans, "value": _value}
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        style=Markup(style),  # our own file: safe as it is
        classes=_classes,
        **values,
    )


def _anchor(block: Table | Picture) -> str:
    return f"{'figure' if isinstance(block, Picture) else 'table'}-{block.name}"


def _spans(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Return the headings above those of the columns, and how many columns each has."""
    groups = groupby(columns, key=lambda column: column.group)
    return [(group, len(list(members))) for group, members in groups]


def _value(cell: Cell) -> str:
    """Return the cell's text without deviation and marks, which have elements of their own."""
    return cell_text(replace(cell, std=None, marks="") if isinstance(cell, Number) else cell)


def _classes(table: Table, i: int, cell: Cell = None) -> str:
    """Return the CSS classes of a cell: words or numbers, the sign of a difference, an edge."""
    columns = table.columns
    names = ["word" if columns[i].text else "number"]
    if isinstance(cell, Number) and cell.kind == "difference" and cell.value:
        names.append("more" if cell.value > 0 else "less")
    if i and columns[i].group != columns[i - 1].group:
        names.append("edge")  # a line before every group of columns
    return " ".join(names)
