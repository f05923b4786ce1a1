"""What all commands share: options, messages, exit codes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ..config import AUGMENTS, PRECISIONS, VARIANTS
from ..errors import UsageError
from ..models.ops import FUSIONS

out = Console()
err = Console(stderr=True)


def choice(name: str, values: tuple[str, ...]) -> type[Enum]:
    """An option that takes one of these words; the words are said once, where they matter."""
    return Enum(name, {value: value for value in values}, type=str)


Augment = choice("Augment", AUGMENTS)
Classes = choice("Classes", ("all", "base", "novel"))
TrainedOn = choice("TrainedOn", ("all", "base"))
Features = choice("Features", ("auto", "class", "fused"))
Fusion = choice("Fusion", FUSIONS)
Method = choice("Method", VARIANTS)
Precision = choice("Precision", PRECISIONS)
Split = choice("Split", ("test", "val"))


def command(function: Callable) -> Callable:
    """Turn our errors into one line and an exit code."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except (ValueError, RuntimeError, OSError) as error:
            err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error

    return wrapped


def say(text: str) -> None:
    out.print(text, highlight=False, markup=False, soft_wrap=True)


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
    typer.Option(help="How both features are mixed: as the released code, or as the paper writes."),
]
AdapterOption = Annotated[Path, typer.Option(help="An adapter.safetensors file.")]
BaseOption = Annotated[
    str | None, typer.Option(help="Base weights, where the adapter's own are not found.")
]


def drop_none(**values: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in values.items() if value is not None}
