"""The terminal: every text is shown as it is, whatever names it holds."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from .text import printable

_NARROWEST = 40
"""Columns; in fewer, rich leaves cells out."""


class PlainConsole(Console):
    """A console that reads neither markup nor emoji codes, and escapes control characters.

    Names of classes, files and data sets come from anywhere: `:cat:` and `[b]` are names too, and
    an escape sequence must not reach the terminal.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if self.width < _NARROWEST:  # a terminal that does not know its size: COLUMNS=0
            self.width = _NARROWEST

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text for display; also called for the cells and titles of tables."""
        return super().render_str(printable(text), **options)
