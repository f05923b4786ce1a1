"""Cells as text."""

from open_clip_mmrl.report.tables.table import Number, cell_text, file_name
from open_clip_mmrl.utils.text import MINUS


def test_cells_as_text():
    assert cell_text(None) == "-"
    assert cell_text(Number(85.678, "percent", 0.214, 3, "†")) == "85.68 ±0.21†"
    assert cell_text(Number(-0.5, "difference")) == f"{MINUS}0.50"
    assert cell_text(Number(12345, "count")) == "12,345"
    assert file_name("MMRL++ (paper), a/../b") == "mmrlpp-paper-a-b"
