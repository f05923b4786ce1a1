"""Look into the tables of a report."""

from open_clip_mmrl.report.tables.table import cell_text

MMRL = "MMRL compared with published results"


def by_title(tables):
    return {table.title: table for table in tables}


def read(table):
    """{first cell: {"group label" or "label": text}} of a table."""
    heads = [f"{c.group} {c.label}".strip() for c in table.columns]
    return {
        row.cells[0]: dict(zip(heads, map(cell_text, row.cells), strict=True)) for row in table.rows
    }
