"""`open-clip-mmrl verify`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .common import METHOD, AdapterArgument, BaseOption, JsonOption, command, option, say


@command()
def verify(
    adapter: AdapterArgument,
    pretrained: BaseOption = None,
    download: Annotated[
        bool, option(METHOD, "Fetch base weights that are not on this machine.", "--download")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare an adapter's tensors, header and base with what it records of them.

    Tensors and header have digests, the base a fingerprint. What is not
    recorded is not compared. Exit code 1 where something differs, or the
    base is not on this machine.
    """
    from ..hub.verify import verify as checks

    found = checks(adapter, pretrained=pretrained, download=download)
    if as_json:
        say(json.dumps([check._asdict() for check in found]))
    else:
        states = {True: "ok", False: "FAILED", None: "unknown"}
        for check in found:
            say(f"{check.name:8}{states[check.holds]:8}{check.text}")
    if any(check.holds is False for check in found):
        raise typer.Exit(1)
