"""The command line: `open-clip-mmrl train | eval | predict | run | report | data | demo | speed`.

Exit code 2 for wrong use, 1 for other errors, 130 after Ctrl-C.
"""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from .common import say
from .data import app as data_app
from .demo import demo
from .eval import evaluate
from .predict import predict
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
app.command("train")(train)
app.command("eval")(evaluate)
app.command("predict")(predict)
app.command("demo")(demo)
app.command("report")(report)
app.command("speed")(speed)
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
