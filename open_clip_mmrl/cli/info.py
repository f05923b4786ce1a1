"""`open-clip-mmrl info`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import AdapterArgument, JsonOption, command, out, say

if TYPE_CHECKING:
    from ..hub.adapter_info import AdapterInfo

_CLASSES = 20
"""Names that are shown."""


@command()
def info(adapter: AdapterArgument, as_json: JsonOption = False) -> None:
    """Show an adapter's header: base, classes, settings, scores, where it comes from.

    Nothing is loaded. --json prints the header as it is, digests in full.
    """
    from rich import box
    from rich.table import Table

    from ..hub.adapter_reading import read_adapter

    found = read_adapter(adapter)
    if as_json:
        say(json.dumps(found.to_dict()))
        return
    table = Table(show_header=False, box=box.SIMPLE, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _lines(found):
        table.add_row(name, text)
    out.print(table)


def _lines(found: AdapterInfo) -> Iterator[tuple[str, str]]:
    from ..data.more_prompts import wording
    from ..utils.text import listing

    base, origin = found.base, dict(found.provenance)
    sides = " x ".join(map(str, base.image_size))
    environment = origin.pop("environment", {})
    yield "adapter", f"{found.path} ({Path(found).stat().st_size:,} bytes)"
    yield "method", found.config.variant
    yield "base", f"{base.model or 'no name'} ({base.pretrained or 'no tag'})"
    yield (
        "",
        (
            f"{'QuickGELU' if base.quick_gelu else 'GELU'}, images of {sides} pixels, prompts of "
            f"{base.context_length} tokens, {base.fingerprint.dtype}"
        ),
    )
    yield "classes", f"{len(found.class_names):,}: {listing(found.class_names, _CLASSES)}"
    template = found.template or "a photo of a {}. (the default)"
    yield "prompt", wording(template, found.prompts)
    yield "config", _pairs({k: v for k, v in found.config.to_dict().items() if k != "variant"})
    yield "settings", _pairs(found.settings)
    for name, scores in found.scores.items():
        shown = _pairs(scores) if isinstance(scores, Mapping) else str(scores)
        yield _SCORES.get(name, name), shown
    if found.calibration is not None:
        images = len(found.calibration.max_softmax)
        of = f"on {images:,} images ({found.calibration.held_back})"
        mean = ", with their mean for new classes" if found.image_means else ""
        yield "calibration", f"{of}, temperature: {_pairs(found.calibration.temperature)}{mean}"
    yield "made by", _pairs(origin) or "not recorded"
    if isinstance(environment, Mapping) and environment:
        yield "with", _pairs({k: v for k, v in environment.items() if k not in origin})
    edited = _EDITED if found.unedited is False else ""
    yield (
        "digests",
        (
            f"tensors {_short(found.tensors_sha256)}, "
            f"header {_short(found.header_sha256)}{edited}, "
            f"base {_short(base.fingerprint.sha256)}"
        ),
    )


_SCORES = {"metrics": "scores", "zero_shot": "frozen CLIP", "logged": "its own log"}
_EDITED = " (of another header: this one is edited or damaged)"


def _short(digest: str | None) -> str:
    return digest[:16] if digest else "none"


def _pairs(values: Mapping[str, Any]) -> str:
    """Return `lr 0.002, epochs 30`, nested values with dots; without those that are empty."""
    return ", ".join(f"{name} {value}" for name, value in _flat(values, ""))


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value not in (None, [], ""):
            yield f"{prefix}{name}", value
