"""A report as one HTML page that needs nothing beside itself: no links, no scripts."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from ..document import Document, Part, Picture
from ..tables.grid import Cell, Column, Number, Row, Table, cell_text

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
"""


def html_page(document: Document, svg: Mapping[str, bytes]) -> str:
    """The page; `svg` holds every picture of the document by name."""
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    parts = "".join(_part(part, svg) for part in document.parts)
    notes = ""
    if document.notes:
        notes = (
            f"<section class='notes'><h2>What to know first</h2>{_list(document.notes)}</section>"
        )
    return (
        _HEAD.format(title=escape(document.title), style=style)
        + f"<body>\n<header><h1>{escape(document.title)}</h1>{_list(document.summary)}</header>\n"
        + f"{_contents(document)}<main>{notes}{parts}</main>\n</body>\n</html>\n"
    )


def _contents(document: Document) -> str:
    entries = []
    for part in document.parts:
        below = "".join(
            f"<li><a href='#{_anchor(block)}'>{escape(block.title)}</a></li>"
            for block in part.blocks
            if isinstance(block, Picture) or not block.folded
        )
        entries.append(
            f"<li><a href='#{part.slug}'>{escape(part.title)}</a><ul>{below}</ul></li>\n"
        )
    return f"<nav><h2>Contents</h2><ol>{''.join(entries)}</ol></nav>\n"


def _part(part: Part, svg: Mapping[str, bytes]) -> str:
    blocks = "".join(
        _picture(block, svg[block.name]) if isinstance(block, Picture) else _table(block)
        for block in part.blocks
    )
    head = f"<h2>{escape(part.title)}</h2><p>{escape(part.intro)}</p>"
    return f"<section id='{part.slug}'>{head}\n{blocks}</section>\n"


def _anchor(block: Table | Picture) -> str:
    return f"{'figure' if isinstance(block, Picture) else 'table'}-{block.name}"


def _picture(picture: Picture, svg: bytes) -> str:
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    return (
        f"<figure id='{_anchor(picture)}'><h3>{escape(picture.title)}</h3>"
        f"<img src='{source}' alt='{escape(picture.title, quote=True)}'>"
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>\n"
    )


def _table(table: Table) -> str:
    body = "".join(_row(row, table.columns) for row in table.rows)
    grid = f"<div class='scroll'><table><thead>{_heads(table.columns)}</thead>"
    grid += f"<tbody>\n{body}</tbody></table></div>"
    notes = f"<div class='remarks'>{_list(table.notes)}</div>" if table.notes else ""
    if table.folded:
        return f"<details><summary>{escape(table.title)}</summary>{grid}{notes}</details>\n"
    head = f"<h3>{escape(table.title)}</h3>"
    return f"<div id='{_anchor(table)}'>{head}{grid}{notes}</div>\n"


def _heads(columns: Sequence[Column]) -> str:
    """One line of headings, and one of groups above it where there are any."""
    below = "".join(
        f"<th scope='col' class='{_kind(None, column)} {_edge(columns, i)}'>"
        f"{escape(column.label)}</th>"
        for i, column in enumerate(columns)
    )
    above = ""
    if any(column.group for column in columns):
        for group, members in groupby(columns, key=lambda column: column.group):
            span = len(list(members))
            kind = " class='edge group'" if group else ""
            above += f"<th colspan='{span}'{kind}>{escape(group)}</th>"
        above = f"<tr>{above}</tr>"
    return f"{above}<tr>{below}</tr>"


def _row(row: Row, columns: Sequence[Column]) -> str:
    cells = []
    for i, cell in enumerate(row.cells):
        tag, scope = ("td", "") if i else ("th", " scope='row'")
        kind = f"{_kind(cell, columns[i])} {_edge(columns, i)}".strip()
        cells.append(f"<{tag}{scope} class='{kind}'>{_cell(cell)}</{tag}>")
    return f"<tr class='{row.role}'>{''.join(cells)}</tr>\n"


def _cell(cell: Cell) -> str:
    if not isinstance(cell, Number):
        return escape(cell_text(cell))
    text = escape(cell_text(Number(cell.value, cell.kind)))
    std = "" if cell.std is None else f" <small>±{cell.std:.2f}</small>"
    marks = f"<sup>{escape(cell.marks)}</sup>" if cell.marks else ""
    return text + std + marks


def _kind(cell: Cell, column: Column) -> str:
    """Words stand left, figures right; differences are tinted by their sign."""
    if column.text:
        return "word"
    if isinstance(cell, Number) and cell.kind == "difference":
        return "figure more" if cell.value > 0 else "figure less" if cell.value < 0 else "figure"
    return "figure"


def _edge(columns: Sequence[Column], i: int) -> str:
    """A line before every group of columns."""
    return "edge" if i and columns[i].group != columns[i - 1].group else ""


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
