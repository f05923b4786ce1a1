"""What the commands share: options, messages, exit codes."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec

import typer
from rich.text import Text

from ..config import Augment, Fusion, Precision
from ..errors import UsageError
from ..utils.console import PlainConsole
from ..utils.log import show_messages
from ..utils.stop import AGAIN
from ..utils.text import printable

out = PlainConsole()
err = PlainConsole(stderr=True)

Split = Literal["test", "val"]

DATA, METHOD, TRAINING, MACHINE, OUTPUT = "Data", "Method", "Training", "Machine", "Output"
"""The panels of every command's help, in this order: which images; which model, adapter and fields
of MMRLConfig; what only training takes; where and how it computes; what is written and shown."""

P = ParamSpec("P")


def command(on_stop: str = AGAIN) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Decorate a command: messages are shown, errors and Ctrl-C end in one line and an exit code.

    Exit codes: 2 for a `UsageError`, 1 for other errors, 130 for Ctrl-C.

    Args:
        on_stop: what to add to "Stopped." after Ctrl-C, such as how to resume.
    """

    def decorate(function: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
            show_messages(logging.WARNING if kwargs.get("quiet") else logging.INFO)
            try:
                function(*args, **kwargs)
            except (ValueError, RuntimeError, OSError) as error:
                message = Text.assemble(("error:", "bold red"), f" {printable(str(error))}")
                err.print(message, soft_wrap=True)
                raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error
            except KeyboardInterrupt as error:
                err.print(f"Stopped. {on_stop}", soft_wrap=True)
                raise typer.Exit(130) from error

        return wrapped

    return decorate


def path_option(help: str, *names: str, panel: str = OUTPUT) -> Any:
    """Return an option that takes a path: not an empty one, which would be the current folder."""
    return typer.Option(
        *names, parser=_given_path, metavar="PATH", help=help, rich_help_panel=panel
    )


def _given_path(text: str | Path) -> Path:
    if not str(text).strip():
        raise typer.BadParameter("it is empty; give a path, or . for the current folder.")
    return Path(text)


def say(text: str) -> None:
    """Print a result on standard output, not wrapped and not colored: programs read it too."""
    print(printable(text))


def drop_none(**values: Any) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in values.items() if value is not None}


ModelOption = Annotated[
    str | None,
    typer.Option(help="An open_clip model; default: the tiny one shipped.", rich_help_panel=METHOD),
]
PretrainedOption = Annotated[
    str | None,
    typer.Option(help="Its weights: a tag, or a checkpoint file.", rich_help_panel=METHOD),
]
DataOption = Annotated[
    str,
    typer.Option(
        help="digits | scrawl | folder:PATH (PATH/train/<class>/*, PATH/test/<class>/*) | "
        "coop:NAME | wds:PATH_OR_URL | clip_benchmark:NAME",
        rich_help_panel=DATA,
    ),
]
RootOption = Annotated[
    str | None,
    typer.Option(
        help="Folder of the coop: data sets, or clip_benchmark's --dataset_root.",
        rich_help_panel=DATA,
    ),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(help='Prompt, {} for the class name: "a photo of a {}."', rich_help_panel=DATA),
]
SplitOption = Annotated[
    Split, typer.Option(help="val: for choosing settings.", rich_help_panel=DATA)
]
DeviceOption = Annotated[
    str | None,
    typer.Option(help="cpu, cuda, cuda:N; default: the best.", rich_help_panel=MACHINE),
]
AugmentOption = Annotated[
    Augment,
    typer.Option(
        help="classic: image by image; device: the same crops by batch, for GPUs.",
        rich_help_panel=MACHINE,
    ),
]
CacheOption = Annotated[
    float,
    typer.Option(
        help="GB of decoded training images kept in memory at most.", rich_help_panel=MACHINE
    ),
]
GraphOption = Annotated[
    bool,
    typer.Option(
        "--cuda-graph",
        help="Record the training step once and replay it.",
        rich_help_panel=MACHINE,
    ),
]
WorkersOption = Annotated[
    int, typer.Option(min=0, help="Processes that decode images.", rich_help_panel=MACHINE)
]
PrecisionOption = Annotated[
    Precision, typer.Option(help="Arithmetic of the towers.", rich_help_panel=MACHINE)
]
FusionOption = Annotated[
    Fusion,
    typer.Option(
        help="How the scores of both features are mixed: logits, as the released code does, or "
        "probabilities, as the paper writes.",
        rich_help_panel=METHOD,
    ),
]
AdapterOption = Annotated[
    Path,
    typer.Option(
        metavar="RUN_OR_FILE",
        help="A run's folder, or an adapter.safetensors file.",
        rich_help_panel=METHOD,
    ),
]
BaseOption = Annotated[
    str | None,
    typer.Option(
        help="Base weights, where the adapter's own are not found.", rich_help_panel=METHOD
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON instead.", rich_help_panel=OUTPUT)
]
QuietOption = Annotated[
    bool,
    typer.Option(help="Results and warnings only: no progress bars.", rich_help_panel=OUTPUT),
]
