"""`open-clip-mmrl speed`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .common import (
    DeviceOption,
    Method,
    Precision,
    PrecisionOption,
    command,
    err,
    out,
    say,
)


@command
def speed(
    model: Annotated[str, typer.Option(help="An open_clip model; its weights are random.")] = (
        "ViT-B-16"
    ),
    method: Annotated[Method, typer.Option()] = Method.mmrl,
    classes: Annotated[int, typer.Option(min=1)] = 100,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per training step.")] = 4,
    eval_batch_size: Annotated[int, typer.Option(min=1, help="Images per scoring step.")] = 32,
    precision: PrecisionOption = Precision.fp32,
    text_chunk_size: Annotated[
        int | None, typer.Option(min=1, help="Classes at a time: less memory, more time.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Medians are taken over these.")] = 5,
    reference: Annotated[bool, typer.Option(help="Run the reference too.")] = True,
    memory: Annotated[bool, typer.Option(help="Measure memory, in child processes.")] = True,
    sweep: Annotated[bool, typer.Option(help="10 to 1000 classes, and a figure.")] = False,
    largest_reference: Annotated[
        int, typer.Option(min=0, help="Classes up to which a sweep runs the reference.")
    ] = 250,
    output: Annotated[Path, typer.Option(help="Where a sweep's figure and figures go.")] = Path(
        "mmrl-speed"
    ),
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Time ours, the paper-literal reference and plain open_clip, in one run."""
    from .. import speed as bench
    from ..files import json_bytes, write_atomically
    from ..report import speed_figure
    from ..tables import speed_table

    settings = bench.SpeedSettings(
        model=model,
        method=method.value,
        classes=classes,
        batch_size=batch_size,
        eval_batch_size=eval_batch_size,
        precision=precision.value,
        text_chunk_size=text_chunk_size,
        repeats=repeats,
        reference=reference,
        memory=memory,
        device=device,
    )

    def report(text: str) -> None:
        err.print(text, highlight=False, markup=False)

    if not sweep:
        result = bench.measure(settings, report)
        say(json.dumps(result)) if as_json else out.print(speed_table(result))
        return
    results = bench.sweep(settings, largest_reference=largest_reference, say=report)
    write_atomically(output / "speed.json", json_bytes(results))
    speed_figure(results, output / "speed.png")
    if as_json:
        say(json.dumps(results))
        return
    for result in results:
        out.print(speed_table(result))
    say(f"figure: {output / 'speed.png'}   numbers: {output / 'speed.json'}")
