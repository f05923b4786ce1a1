"""`open-clip-mmrl report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import command, given_path, out, path_option, say


@command()
def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            parser=given_path, metavar="DIR...", help="Folders with results.json files below."
        ),
    ],
    output: Annotated[
        Path | None,
        path_option("Folder of the report. Default: report in the first DIR."),
    ] = None,
) -> None:
    """Compare finished runs with each other and with published results: HTML, Markdown, CSV."""
    from ..report import write_report
    from .tables import opening_table

    try:
        written = write_report(folders, output)
    except OSError as error:
        if output is not None or not str(error).startswith("cannot write"):
            raise
        raise OSError(f"{error} Give another folder with --output.") from error
    out.print(opening_table(written.opening))
    for line in (
        *written.opening.notes,
        *written.summary,
        *(f"Note: {note}" for note in written.notes),
    ):
        say(line)
    say(
        f"page: {written.html}   text: {written.markdown}   "
        f"{len(written.tables)} tables (CSV) and {len(written.figures)} pictures next to them"
    )
