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


def path_option(help: str, *names: str) -> Any:
    """Return an option that takes a path: not an empty one, which would be the current folder."""
    return typer.Option(*names, parser=_given_path, metavar="PATH", help=help)


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
    str | None, typer.Option(help="An open_clip model; default: the tiny one shipped.")
]
PretrainedOption = Annotated[
    str | None, typer.Option(help="Its weights: a tag, or a checkpoint file.")
]
DataOption = Annotated[
    str,
    typer.Option(
        help="digits | scrawl | folder:PATH (PATH/train/<class>/*, PATH/test/<class>/*) | "
        "coop:NAME | wds:PATH_OR_URL | clip_benchmark:NAME"
    ),
]
RootOption = Annotated[
    str | None,
    typer.Option(help="Folder of the coop: data sets, or clip_benchmark's --dataset_root."),
]
TemplateOption = Annotated[
    str | None, typer.Option(help='Prompt, {} for the class name: "a photo of a {}."')
]
SplitOption = Annotated[Split, typer.Option(help="val: for choosing settings.")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N; default: the best.")]
AugmentOption = Annotated[
    Augment,
    typer.Option(help="classic: image by image; device: the same crops by batch, for GPUs."),
]
CacheOption = Annotated[
    float, typer.Option(help="GB of decoded training images kept in memory at most.")
]
GraphOption = Annotated[
    bool, typer.Option("--cuda-graph", help="Record the training step once and replay it.")
]
WorkersOption = Annotated[int, typer.Option(min=0, help="Processes that decode images.")]
PrecisionOption = Annotated[Precision, typer.Option(help="Arithmetic of the towers.")]
FusionOption = Annotated[
    Fusion,
    typer.Option(
        help="How the scores of both features are mixed: logits, as the released code does, or "
        "probabilities, as the paper writes."
    ),
]
AdapterOption = Annotated[Path, typer.Option(help="An adapter.safetensors file.")]
BaseOption = Annotated[
    str | None, typer.Option(help="Base weights, where the adapter's own are not found.")
]
QuietOption = Annotated[bool, typer.Option(help="Results and warnings only: no progress bars.")]
