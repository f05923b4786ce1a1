"""What the commands share: options, messages, exit codes."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec

import typer
from rich.text import Text

from ..config import PRECISIONS, Augment, Fusion, Precision
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
            except BrokenPipeError as error:  # who reads has enough, such as `head`
                with suppress(OSError, ValueError):  # the rest is written to nowhere
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(1) from error
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
    return typer.Option(*names, parser=given_path, metavar="PATH", help=help, rich_help_panel=panel)


def option(panel: str, help: str, *names: str, **how: Any) -> Any:
    """Return an option in a panel of the help; the rest is as in `typer.Option`."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **how)


def given_path(text: str | Path) -> Path:
    """Return the path that was given, which is not empty."""
    if not str(text).strip():
        raise typer.BadParameter("it is empty; give a path, or . for the current folder.")
    return Path(text)


def say(text: str) -> None:
    """Print a result on standard output, not wrapped and not colored: programs read it too."""
    print(printable(text))


def drop_none(**values: Any) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def set_fields(ctx: typer.Context, pairs: list[str] | None) -> dict[str, Any]:
    """Return the fields of `--set NAME=VALUE`, read as JSON where they are; else as text.

    Raises:
        UsageError: no NAME=VALUE, or a field that was also given with its own option.
    """
    found: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        name = name.strip()
        if not equals:
            raise UsageError(f"--set {pair!r} has no '='; write NAME=VALUE, as in rep_dim=64.")
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            own = name.replace("_", "-")
            raise UsageError(f"--{own} and --set {name}= were both given; leave one of them out.")
        found[name] = value_of(text)
    return found


def value_of(text: str) -> Any:
    """Read a number, true, false or null; anything else is the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # of thousands of digits or brackets, too
        return text


ModelOption = Annotated[
    str | None,
    option(METHOD, "An open_clip model. Default: the tiny one shipped.", metavar="NAME"),
]
PretrainedOption = Annotated[
    str | None,
    option(METHOD, "Its weights: a tag, or a checkpoint file.", metavar="TAG_OR_FILE"),
]
DataOption = Annotated[
    str,
    option(
        DATA,
        "digits | scrawl | folder:PATH (PATH/<class>/* or PATH/train/<class>/*, "
        "PATH/test/<class>/*) | coop:NAME | wds:PATH_OR_URL | clip_benchmark:NAME",
        metavar="SPEC",
    ),
]
RootOption = Annotated[
    str | None,
    option(
        DATA, "Folder of the coop: data sets, or clip_benchmark's --dataset_root.", metavar="PATH"
    ),
]
TemplateOption = Annotated[
    str | None,
    option(DATA, 'Prompt, {} for the class name: "a photo of a {}."', metavar="TEXT"),
]
TemplatesOption = Annotated[
    list[str] | None,
    option(
        DATA,
        'Prompt, {} for the class name: "a photo of a {}." Of several, a class has the mean text '
        "feature, and the first is trained with.",
        metavar="TEXT",
    ),
]
PromptsOption = Annotated[
    Path | None,
    option(
        DATA,
        'Prompts of each class, in JSON: {"tench": ["a fish with ...", ...], ...}; in place of '
        "the template.",
        metavar="FILE",
    ),
]
SplitOption = Annotated[Split, option(DATA, "val: for choosing settings.")]
ShotsOption = Annotated[str, option(DATA, "Training images per class, or all.", metavar="N|all")]
FractionOption = Annotated[
    float | None,
    option(
        DATA,
        "Share of each class's images to test on, drawn where a folder: has no test/. "
        "Default: 0.2.",
        metavar="X",
    ),
]
NamesOption = Annotated[
    Path | None,
    option(
        DATA,
        "Class names for folders, one 'folder: name' per line (n01440764: tench), or JSON.",
        metavar="FILE",
    ),
]
NestedOption = Annotated[
    bool | None,
    option(
        DATA,
        "Take each folder that holds images as a class, however deep it lies.",
        "--nested/--not-nested",
    ),
]
DeviceOption = Annotated[
    str | None,
    option(MACHINE, "cpu, cuda, cuda:N. Default: the best there is.", metavar="NAME"),
]
AugmentOption = Annotated[
    Augment,
    option(MACHINE, "classic: image by image; device: the same crops by batch, for GPUs."),
]
CacheOption = Annotated[
    float,
    option(MACHINE, "Decoded training images kept in memory at most.", metavar="GB"),
]
GraphOption = Annotated[
    bool,
    option(MACHINE, "Record the training step once and replay it.", "--cuda-graph"),
]
WorkersOption = Annotated[int, option(MACHINE, "Processes that decode images.", min=0, metavar="N")]
PrecisionOption = Annotated[
    Precision,
    option(MACHINE, f"Arithmetic of the towers: {', '.join(PRECISIONS)}.", metavar="TYPE"),
]
FusionOption = Annotated[
    Fusion,
    option(
        METHOD,
        "How the scores of both features are mixed: logits, as the released code does, or "
        "probabilities, as the paper writes.",
    ),
]
SeenOffsetOption = Annotated[
    float | None,
    option(
        METHOD,
        "With seen and new classes in one list: subtract this from the logits of seen ones, which "
        "both features score, the class feature new ones. Default: 0, or, by an adapter of train "
        "--calibrate, both features for all, less what the mean of its held-back images scores.",
        metavar="X",
    ),
]
AdapterOption = Annotated[
    Path,
    option(
        METHOD,
        "A run's folder, an adapter.safetensors file, or hf-hub:USER/NAME[@REVISION].",
        parser=given_path,
        metavar="RUN_OR_FILE",
    ),
]
AdapterArgument = Annotated[
    Path,
    typer.Argument(
        parser=given_path,
        metavar="RUN_OR_FILE",
        help="A run's folder, an adapter.safetensors file, or hf-hub:USER/NAME[@REVISION].",
        rich_help_panel=METHOD,
    ),
]
BaseOption = Annotated[
    str | None,
    option(METHOD, "Base weights, where the adapter's own are not found.", metavar="TAG_OR_FILE"),
]
JsonOption = Annotated[bool, option(OUTPUT, "Print JSON instead.", "--json")]
ChunkOption = Annotated[
    int | None,
    option(MACHINE, "Classes at a time: less memory, more time.", metavar="N"),
]
CalibrateOption = Annotated[
    bool,
    option(
        TRAINING,
        "Measure how sure to be, for predict --coverage and --reject, and how new classes compare, "
        "for --new-class: on the val images, or else on a quarter of the shots, which are then not "
        "trained on. Needs MAPIE.",
        "--calibrate",
    ),
]
SetOption = Annotated[
    list[str] | None,
    option(
        METHOD,
        "Any field of MMRLConfig or TrainConfig; as often as needed.",
        "--set",
        metavar="NAME=VALUE",
    ),
]
QuietOption = Annotated[
    bool,
    option(OUTPUT, "Results and warnings only: no progress bars.", "--quiet"),
]
