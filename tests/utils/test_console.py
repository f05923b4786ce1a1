"""Names are shown as they are: no markup, no emoji codes, no escape sequences."""

import logging

import pytest
from rich.table import Table

from open_clip_mmrl.utils.console import PlainConsole
from open_clip_mmrl.utils.log import show_messages

NAME = ":cat: [bold]x[/] [b] \x1b[31m"
SHOWN = ":cat: [bold]x[/] [b] \\x1b[31m"


def test_texts_cells_and_titles_are_shown_as_they_are(capsys):
    table = Table(title=NAME, min_width=60)
    table.add_column(NAME)
    table.add_row(NAME)
    console = PlainConsole()
    console.print(table)
    console.print(NAME)
    assert capsys.readouterr().out.count(SHOWN) == 4


def test_messages_are_shown_as_they_are(capsys):
    show_messages()
    logging.getLogger("open_clip_mmrl").info("class %s", NAME)
    assert capsys.readouterr().err == f"class {SHOWN}\n"


@pytest.mark.parametrize(("columns", "width"), [("0", 40), ("7", 40), ("100", 100), ("x", 80)])
def test_nothing_is_left_out_where_the_width_is_not_known(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    assert PlainConsole().width == width
