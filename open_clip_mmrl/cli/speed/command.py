"""`open-clip-mmrl speed`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ...config import Augment, Variant
from ..common import (
    DeviceOption,
    PrecisionOption,
    WorkersOption,
    command,
    drop_none,
    out,
    path_option,
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
    sweep: Annotated[bool, typer.Option(help="10 to 1000 classes, and a picture.")] = False,
    largest_reference: Annotated[
        int, typer.Option(min=0, help="Classes up to which a sweep runs the reference.")
    ] = 250,
    output: Annotated[
        Path,
        path_option("Where a sweep's picture and numbers go."),
    ] = Path("mmrl-speed"),
    whole_run: Annotated[
        bool,
        typer.Option(
            "--whole-run",
            help="Instead: a whole training on images made for it, reading included.",
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
    """Time ours, the literal reference and plain open_clip, in one run."""
    from ...utils.files import json_bytes, write_atomically
    from . import render
    from .measure import Measurement, measure
    from .measure import sweep as measure_sweep
    from .settings import SpeedSettings, WholeRun
    from .whole_run import time_run

    common: dict[str, Any] = {
        "model": model,
        "method": method,
        "precision": precision,
        "text_chunk_size": text_chunk_size,
        "device": device,
        "cuda_graph": cuda_graph,
        **drop_none(classes=classes, batch_size=batch_size),
    }
    if whole_run:
        run = WholeRun(
            **common,
            shots=shots,
            epochs=epochs,
            width=image_size[0],
            height=image_size[1],
            augment=augment,
            workers=workers,
        )
        taken = time_run(run)
        say(json.dumps(taken.to_json()) if as_json else render.whole_run_text(taken))
        return
    settings = SpeedSettings(
        **common,
        eval_batch_size=eval_batch_size,
        repeats=repeats,
        reference=reference,
        memory=memory,
    )

    def show(found: Measurement) -> None:
        out.print(render.speed_table(found))
        say(render.speed_text(found))

    if not sweep:
        found = measure(settings)
        say(json.dumps(found.to_json())) if as_json else show(found)
        return
    results = measure_sweep(settings, largest_reference)
    rows = [found.to_json() for found in results]
    write_atomically(output / "speed.json", json_bytes(rows))
    render.speed_figure(results, output / "speed.png")
    if as_json:
        say(json.dumps(rows))
        return
    for found in results:
        show(found)
    say(f"figure: {output / 'speed.png'}   numbers: {output / 'speed.json'}")
