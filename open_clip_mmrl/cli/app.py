"""The command line: `open-clip-mmrl train | eval | predict | ...`.

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
from .export import export
from .help import Command, example
from .import_checkpoint import import_checkpoint
from .info import info
from .models import models
from .predict import predict
from .report import report
from .run import run
from .share import share
from .speed.command import speed
from .status import status
from .train import train
from .verify import verify

app = typer.Typer(
    help="Few-shot adaptation of open_clip models with MMRL and MMRL++.",
    epilog="open-clip-mmrl COMMAND --help lists a command's options, with an example.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _name, _function in {
    "demo": demo,
    "train": train,
    "eval": evaluate,
    "predict": predict,
    "import": import_checkpoint,
    "export": export,
    "info": info,
    "verify": verify,
    "run": run,
    "status": status,
    "report": report,
    "share": share,
    "models": models,
    "speed": speed,
}.items():
    app.command(_name, cls=Command, epilog=example(_name))(_function)
app.add_typer(data_app, name="data")


def _version(value: bool) -> None:
    if value:
        say(f"open_clip_mmrl {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None: ...
