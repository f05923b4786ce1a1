"""A report before it is a file: parts with tables and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .tables.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure with its title, the name of its files, and a caption."""

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Footnote:
    """A note below a table: its mark, its text, and whether the text is given here first."""

    mark: str
    text: str
    first: bool


@dataclass(frozen=True)
class Part:
    """One chapter."""

    slug: str
    title: str
    intro: str
    blocks: tuple[Table | Picture, ...]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    summary: tuple[str, ...]
    """The sentences at the top."""
    opening: tuple[Table | Picture, ...]
    """What comes next, before the contents."""
    notes: tuple[str, ...]
    """What was left out, and why."""
    parts: tuple[Part, ...]

    def blocks(self) -> Iterator[Table | Picture]:
        """Yield all tables and pictures, in order."""
        yield from self.opening
        for part in self.parts:
            yield from part.blocks

    def tables(self) -> Iterator[Table]:
        """Yield all tables, in order."""
        yield from (block for block in self.blocks() if isinstance(block, Table))

    def pictures(self) -> Iterator[Picture]:
        """Yield all pictures, in order."""
        yield from (block for block in self.blocks() if isinstance(block, Picture))

    def footnotes(self) -> dict[str, list[Footnote]]:
        """Return the footnotes of every table by its name; each text once, its mark everywhere."""
        marks: dict[str, str] = {}
        found: dict[str, list[Footnote]] = {}
        for table in self.tables():
            notes = []
            for note in table.notes:
                first, (mark, text) = note not in marks, _marked(note)
                marks.setdefault(note, mark or str(sum(m.isdigit() for m in marks.values()) + 1))
                notes.append(Footnote(marks[note], text, first))
            found[table.name] = notes
        return found


def _marked(note: str) -> tuple[str, str]:
    """Return the sign that a note begins with, "" where there is none, and the text."""
    mark, _, text = note.partition(" ")
    return (mark, text) if len(mark) == 1 and not mark.isalnum() else ("", note)
