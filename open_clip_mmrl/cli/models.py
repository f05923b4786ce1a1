"""`open-clip-mmrl models`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .common import JsonOption, command, out, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from ..hub.catalog import CatalogEntry, Tower


@command()
def models(
    part: Annotated[
        str, typer.Argument(metavar="TEXT", help="Only those with this in their names.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """List the bases of open_clip: towers, layers with tokens, what is trained, or why not.

    The numbers are those of the default settings. Others are made from a place: --model
    hf-hub:ORGANIZATION/NAME or local-dir:PATH.
    """
    from ..errors import UsageError
    from ..hub.catalog import catalog

    entries = list(catalog(part))
    if not entries:
        raise UsageError(f"open_clip has no model with {part!r} in its name; leave it out for all.")
    if as_json:
        say(json.dumps([asdict(entry) for entry in entries]))
        return
    kinds: dict[str, list[CatalogEntry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.reason is not None):
        kinds.setdefault(_kind(entry), []).append(entry)
    for kind, alike in kinds.items():
        out.print((_suited if alike[0].reason is None else _others)(kind, alike))
    suited = sum(entry.reason is None for entry in entries)
    say(f"{suited} of {len(entries)} take tokens.")
    say("Towers: layers x width; tokens: layers that get them; MMRL, MMRL++: trained parameters.")


def _suited(title: str, entries: Sequence[CatalogEntry]) -> Table:
    table = _table(title)
    for name in ("image", "text"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True)
    for name in ("MMRL", "MMRL++"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in entries:
        assert entry.parameters is not None  # no reason
        trained = (f"{count / 1e6:.2f} M" for count in entry.parameters.values())
        sizes = (_size(entry.image), _size(entry.text))
        table.add_row(entry.name, *sizes, str(entry.token_layers), *trained)
    return table


def _others(title: str, entries: Sequence[CatalogEntry]) -> Table:
    table = _table(title)
    table.add_column("nearest that takes tokens", no_wrap=True)
    for entry in entries:
        table.add_row(entry.name, entry.nearest)
    return table


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        min_width=min(len(title), 80),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("base", no_wrap=True, min_width=29)
    return table


def _kind(entry: CatalogEntry) -> str:
    """Return the title that it is listed under."""
    if entry.reason is not None:
        return f"No tokens: {entry.reason}"
    assert entry.image is not None and entry.text is not None  # no reason
    sides = "" if entry.token_sides == "both" else ", tokens on the image side only"
    return f"Image: {entry.image.family}; text: {entry.text.family}{sides}"


def _size(tower: Tower | None) -> str:
    return f"{tower.layers} x {tower.width}" if tower and tower.layers else ""
