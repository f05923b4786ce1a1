"""`open-clip-mmrl speed`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ...config import Augment, Variant
from ..common import (
    DeviceOption,
    PrecisionOption,
    WorkersOption,
    command,
    drop_none,
    err,
    out,
    say,
)


@command()
def speed(
    model: Annotated[str, typer.Option(help="An open_clip model; its weights are random.")] = (
        "ViT-B-16"
    ),
    method: Annotated[Variant, typer.Option()] = "mmrl",
    classes: Annotated[
        int | None, typer.Option(min=1, help="Default: 100; 500 with --whole-run.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images per training step. Default: 4; 32 with --whole-run."),
    ] = None,
    eval_batch_size: Annotated[int, typer.Option(min=1, help="Images per scoring step.")] = 32,
    precision: PrecisionOption = "fp32",
    text_chunk_size: Annotated[
        int | None, typer.Option(min=1, help="Classes at a time: less memory, more time.")
    ] = None,
    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph", help="Record the training step, replay it. CUDA only.")
    ] = False,
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
    whole_run: Annotated[
        bool,
        typer.Option(
            "--whole-run",
            help="Instead: a whole training on images made for it, data path included.",
        ),
    ] = False,
    shots: Annotated[int, typer.Option(min=1, help="--whole-run: images per class.")] = 16,
    epochs: Annotated[int, typer.Option(min=1, help="--whole-run.")] = 5,
    image_size: Annotated[
        tuple[int, int], typer.Option(min=1, help="--whole-run: width and height of the files.")
    ] = (500, 375),
    augment: Annotated[
        Augment, typer.Option(help="--whole-run: where crops and flips are made.")
    ] = "classic",
    workers: WorkersOption = 0,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Time ours, the paper-literal reference and plain open_clip, in one run."""
    from ...utils.files import json_bytes, write_atomically
    from ..tables import speed_table
    from . import measure as bench
    from . import whole_run as wholerun
    from .figure import speed_figure

    common = {
        "model": model,
        "method": method,
        "precision": precision,
        "text_chunk_size": text_chunk_size,
        "device": device,
        "cuda_graph": cuda_graph,
        **drop_none(classes=classes, batch_size=batch_size),
    }

    def report(text: str) -> None:
        err.print(text, highlight=False, markup=False)

    if whole_run:
        settings = wholerun.WholeRun(
            **common,
            shots=shots,
            epochs=epochs,
            width=image_size[0],
            height=image_size[1],
            augment=augment,
            workers=workers,
        )
        result = wholerun.time_run(settings, report)
        say(json.dumps(result) if as_json else wholerun.in_words(result))
        return
    settings = bench.SpeedSettings(
        **common,
        eval_batch_size=eval_batch_size,
        repeats=repeats,
        reference=reference,
        memory=memory,
    )

    def show(result: dict) -> None:
        out.print(speed_table(result))
        say(bench.in_words(result))

    if not sweep:
        result = bench.measure(settings, report)
        say(json.dumps(result)) if as_json else show(result)
        return
    results = bench.sweep(settings, largest_reference=largest_reference, say=report)
    write_atomically(output / "speed.json", json_bytes(results))
    speed_figure(results, output / "speed.png")
    if as_json:
        say(json.dumps(results))
        return
    for result in results:
        show(result)
    say(f"figure: {output / 'speed.png'}   numbers: {output / 'speed.json'}")
