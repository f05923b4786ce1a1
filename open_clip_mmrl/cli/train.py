"""`open-clip-mmrl train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..config import CACHE_GB, Variant
from ..utils.stop import RESUMES
from ..utils.text import counted
from .common import (
    DATA,
    METHOD,
    OUTPUT,
    TRAINING,
    AugmentOption,
    CacheOption,
    CalibrateOption,
    ChunkOption,
    DataOption,
    DeviceOption,
    FractionOption,
    FusionOption,
    GraphOption,
    ModelOption,
    NamesOption,
    NestedOption,
    PrecisionOption,
    PretrainedOption,
    PromptsOption,
    QuietOption,
    RootOption,
    SetOption,
    ShotsOption,
    SplitOption,
    TemplatesOption,
    WorkersOption,
    command,
    drop_none,
    option,
    out,
    path_option,
    say,
    set_fields,
)

if TYPE_CHECKING:
    from ..experiments.measured import RunScores
    from ..experiments.resolve import ResolvedRun
    from ..hub.load import LoadedModel


@command(RESUMES)
def train(
    ctx: typer.Context,
    data: DataOption,
    output: Annotated[Path, path_option("Folder of this run.")],
    model: ModelOption = None,
    pretrained: PretrainedOption = None,
    method: Annotated[
        Variant | None,
        option(METHOD, "Default: by the model's name, else mmrl."),
    ] = None,
    classes: Annotated[
        Literal["all", "base"],
        option(DATA, "Classes to train on: all, or the first half."),
    ] = "all",
    shots: ShotsOption = "16",
    seed: Annotated[
        int,
        option(DATA, "Of the images drawn and of training.", min=0, metavar="N"),
    ] = 1,
    template: TemplatesOption = None,
    prompts: PromptsOption = None,
    data_root: RootOption = None,
    test_fraction: FractionOption = None,
    class_names: NamesOption = None,
    nested: NestedOption = None,
    epochs: Annotated[
        int | None,
        option(TRAINING, "Default: the paper's.", metavar="N"),
    ] = None,
    batch_size: Annotated[
        int | None,
        option(TRAINING, "Default: the paper's.", metavar="N"),
    ] = None,
    lr: Annotated[
        float | None,
        option(TRAINING, "Learning rate. Default: the paper's.", metavar="X"),
    ] = None,
    flip: Annotated[
        bool,
        option(TRAINING, "Mirror training images at random."),
    ] = True,
    precision: PrecisionOption = "fp32",
    text_chunk_size: ChunkOption = None,
    reg_weight: Annotated[
        float | None,
        option(METHOD, "lambda: weight of staying near frozen CLIP.", metavar="X"),
    ] = None,
    alpha: Annotated[
        float | None,
        option(METHOD, "Weight of the class feature.", metavar="X"),
    ] = None,
    beta: Annotated[
        float | None,
        option(
            METHOD,
            "Share of this layer's tokens; the rest is the previous layer's output.",
            metavar="X",
        ),
    ] = None,
    num_rep_tokens: Annotated[
        int | None,
        option(METHOD, "K: tokens per layer.", metavar="N"),
    ] = None,
    rep_dim: Annotated[
        int | None,
        option(METHOD, "d_r: width of the tokens' space.", metavar="N"),
    ] = None,
    start_layer: Annotated[
        int | None,
        option(METHOD, "J: first layer of the text tower with tokens.", metavar="N"),
    ] = None,
    calibrate: CalibrateOption = False,
    set_: SetOption = None,
    fusion: FusionOption = "logits",
    test_split: SplitOption = "test",
    device: DeviceOption = None,
    workers: WorkersOption = 0,
    augment: AugmentOption = "classic",
    cache_gb: CacheOption = CACHE_GB,
    cuda_graph: GraphOption = False,
    probe: Annotated[
        bool | None,
        option(
            OUTPUT,
            "Compare with a linear probe of the same images. Default: where it takes seconds.",
            show_default=False,
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Train an adapter from a few images per class, test it, save it."""
    from .. import assets
    from ..data.load import read_names
    from ..data.more_prompts import given_prompts, read_prompts
    from ..data.sampling import parse_shots
    from ..experiments import recipes
    from ..experiments.execute import execute
    from ..experiments.experiment import split_overrides
    from ..experiments.probe_baseline import fit_probe, score_probe, takes_seconds
    from ..experiments.result_parts import known
    from ..experiments.results import ADAPTER, RESULTS
    from ..experiments.run_spec import FewShotRun, Runtime
    from ..hub.load import resolve_name
    from ..utils.files import json_bytes, write_atomically
    from ..utils.ranks import ranks
    from ..utils.stopwatch import Stopwatch
    from .tables import calibration_line, confusions_line, scores_table

    name = resolve_name(model or assets.MODEL_NAME, method)
    of_method, of_training = split_overrides(set_fields(ctx, set_))
    protocol = "base-to-novel" if classes == "base" else "few-shot"
    first, more = given_prompts(template, read_prompts(prompts))
    run = FewShotRun(
        model=str(name),
        pretrained=pretrained,
        data=data,
        method=name.method,
        classes=classes,
        shots=parse_shots(shots),
        test_split=test_split,
        fusion=fusion,
        data_root=data_root,
        template=first or None,
        prompts=None if more is None else more.to_json(),
        calibrate=calibrate,
        test_fraction=test_fraction,
        nested=bool(nested),
        class_names=read_names(data, class_names, nested=bool(nested)),
        settings=drop_none(
            reg_weight=reg_weight,
            alpha=alpha,
            beta=beta,
            num_rep_tokens=num_rep_tokens,
            rep_dim=rep_dim,
            start_layer=start_layer,
        )
        | of_method,
        train=recipes.changed(
            recipes.recipe(name.method, protocol).train,
            **drop_none(
                epochs=epochs, batch_size=batch_size, lr=lr, text_chunk_size=text_chunk_size
            )
            | {"seed": seed, "flip": flip, "precision": precision, "augment": augment}
            | of_training,
        ),
    )
    runtime = Runtime(
        device=device,
        workers=workers,
        quiet=quiet,
        cache_gb=cache_gb,
        cuda_graph=cuda_graph,
        describe="fully",
        ranks=ranks(),
    )
    watch = Stopwatch()
    probed: dict[str, float | None] = {}
    notes: list[str] = []

    def tell(job: ResolvedRun, loaded: LoadedModel, scores: RunScores) -> None:
        if scores.confusions is not None:
            notes.append(confusions_line(scores.confusions))
        if probe or (probe is None and takes_seconds(loaded, job)):
            with watch.stage("linear probe"):
                probe_ = fit_probe(loaded, job)[0]
                found = score_probe(probe_, loaded, job, scores.frozen_features)
            probed.update(found.metrics)
        elif probe is None:
            notes.append("The linear probe is left out, since it takes long; --probe adds it.")

    result = execute(run, output, runtime, watch=watch, tell=tell)
    if probed:
        result = replace(result, linear_probe=probed)
        write_atomically(output / RESULTS, json_bytes(result.to_json()))
    title = f"{data}, {counted(shots, 'shot')}, seed {seed}, {test_split} images, accuracy in %"
    lines = {
        "frozen CLIP": known(result.zero_shot),
        **({"linear probe": known(result.linear_probe)} if result.linear_probe else {}),
        f"{result.method}{_sides(result.config)}": known(result.metrics),
    }
    out.print(scores_table(title, lines))
    say(
        f"{result.trainable_parameters:,} trained parameters; "
        f"{', '.join(f'{stage} {seconds:.1f} s' for stage, seconds in watch.seconds.items())} "
        f"({result.train_ms_per_image:.2f} ms per image trained on)\nadapter: {output / ADAPTER}"
    )
    if result.calibrated:
        before = result.calibration["base" if classes == "base" else "accuracy"]
        notes.append(calibration_line(result.calibrated, before or 0))
    for note in notes:
        say(note)


def _sides(config: Mapping[str, Any]) -> str:
    """Return where tokens are, if not in both towers."""
    sides = config.get("token_sides", "both")
    return "" if sides == "both" else f", {sides} tokens only"
