"""`open-clip-mmrl speed`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from ...config import Augment, Variant
from ..common import (
    DATA,
    MACHINE,
    METHOD,
    TRAINING,
    ChunkOption,
    DeviceOption,
    JsonOption,
    PrecisionOption,
    WorkersOption,
    command,
    drop_none,
    option,
    out,
    path_option,
    say,
)


@command()
def speed(
    model: Annotated[
        str, option(METHOD, "An open_clip model; its weights are random.", metavar="NAME")
    ] = "ViT-B-16",
    method: Annotated[Variant, option(METHOD, "What is timed.")] = "mmrl",
    classes: Annotated[
        int | None, option(DATA, "Default: 100; 500 with --whole-run.", metavar="N", min=1)
    ] = None,
    batch_size: Annotated[
        int | None,
        option(TRAINING, "Images per step. Default: 4; 32 with --whole-run.", metavar="N", min=1),
    ] = None,
    eval_batch_size: Annotated[
        int, option(MACHINE, "Images per scoring step.", metavar="N", min=1)
    ] = 32,
    precision: PrecisionOption = "fp32",
    text_chunk_size: ChunkOption = None,
    cuda_graph: Annotated[
        bool, option(MACHINE, "Record the training step, replay it. CUDA only.", "--cuda-graph")
    ] = False,
    repeats: Annotated[
        int, option(MACHINE, "Medians are taken over these.", metavar="N", min=1)
    ] = 5,
    reference: Annotated[bool, option(METHOD, "Run the reference too.")] = True,
    memory: Annotated[bool, option(MACHINE, "Measure memory, in child processes.")] = True,
    sweep: Annotated[bool, option(DATA, "10 to 1000 classes, and a picture.", "--sweep")] = False,
    largest_reference: Annotated[
        int, option(METHOD, "Classes up to which a sweep runs it.", metavar="N", min=0)
    ] = 250,
    output: Annotated[
        Path,
        path_option("Where a sweep's picture and numbers go."),
    ] = Path("mmrl-speed"),
    whole_run: Annotated[
        bool,
        option(
            TRAINING,
            "Instead: a whole training on images made for it, reading included.",
            "--whole-run",
        ),
    ] = False,
    shots: Annotated[int, option(DATA, "--whole-run: images per class.", metavar="N", min=1)] = 16,
    epochs: Annotated[int, option(TRAINING, "--whole-run: how many.", metavar="N", min=1)] = 5,
    image_size: Annotated[
        tuple[int, int], option(DATA, "--whole-run: of its files.", metavar="WIDTH HEIGHT", min=1)
    ] = (500, 375),
    augment: Annotated[
        Augment, option(MACHINE, "--whole-run: where crops and flips are made.")
    ] = "classic",
    workers: WorkersOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
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
