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
    notes: tuple[str, ...]
    """What was left out, and why."""
    parts: tuple[Part, ...]

    def tables(self) -> Iterator[Table]:
        """Yield all tables, in order."""
        yield from (b for part in self.parts for b in part.blocks if isinstance(b, Table))

    def pictures(self) -> Iterator[Picture]:
        """Yield all pictures, in order."""
        yield from (b for part in self.parts for b in part.blocks if isinstance(b, Picture))
