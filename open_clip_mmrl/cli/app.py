"""The command line: `open-clip-mmrl train | eval | predict | run | report | data | demo | speed`.

Exit code 2 for what was asked wrongly, 1 for what went wrong.
"""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from .common import say
from .data import app as data_app
from .demo import demo
from .evaluate import evaluate, predict
from .report import report
from .run import ListOptions, run
from .speed.command import speed
from .train import train

app = typer.Typer(
    help="Few-shot adaptation of open_clip models with MMRL and MMRL++.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for name, function in {
    "train": train,
    "eval": evaluate,
    "predict": predict,
    "demo": demo,
    "report": report,
    "speed": speed,
}.items():
    app.command(name)(function)
app.command("run", cls=ListOptions)(run)
app.add_typer(data_app, name="data")


def _version(value: bool) -> None:
    if value:
        say(f"open_clip_mmrl {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


def main() -> None:
    """Entry point of the console script."""
    app()
