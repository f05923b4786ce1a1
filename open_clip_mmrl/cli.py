"""The command line: `open-clip-mmrl train | eval | predict | demo | speed`.

Exit code 2 for what was asked wrongly, 1 for what went wrong.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from . import __version__

app = typer.Typer(
    help="Few-shot adaptation of open_clip models with MMRL and MMRL++.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)


class Classes(str, Enum):
    all = "all"
    base = "base"
    novel = "novel"


class Features(str, Enum):
    auto = "auto"
    class_ = "class"
    fused = "fused"


class Fusion(str, Enum):
    logits = "logits"
    probabilities = "probabilities"


class Method(str, Enum):
    mmrl = "mmrl"
    mmrlpp = "mmrl++"


class Precision(str, Enum):
    fp32 = "fp32"
    amp_bf16 = "amp_bf16"
    amp_fp16 = "amp_fp16"


class Split(str, Enum):
    test = "test"
    val = "val"


def _command(function: Callable) -> Callable:
    """Turn our errors into one line and an exit code."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from .errors import UsageError

        try:
            function(*args, **kwargs)
        except (ValueError, RuntimeError, OSError) as error:
            err.print(f"[bold red]error:[/] {_plain(error)}", highlight=False, soft_wrap=True)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error

    return wrapped


def _plain(error: Exception) -> str:
    return str(error).replace("[", r"\[")


def _say(text: str) -> None:
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def _version(value: bool) -> None:
    if value:
        _say(f"open_clip_mmrl {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


DataOption = Annotated[
    str,
    typer.Option(
        help="digits | folder:PATH (PATH/train/<class>/*, PATH/test/<class>/*) | coop:NAME"
    ),
]
RootOption = Annotated[Path | None, typer.Option(help="Folder of the coop: data sets.")]
TemplateOption = Annotated[
    str | None, typer.Option(help='Prompt, {} for the class name: "a photo of a {}."')
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N; default: the best.")]
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


@app.command()
@_command
def train(
    data: DataOption,
    output: Annotated[Path, typer.Option(help="Folder of this run.")],
    model: Annotated[
        str | None, typer.Option(help="An open_clip model; default: the tiny one shipped.")
    ] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="Its weights: a tag, a checkpoint file, or 'random'.")
    ] = None,
    method: Annotated[
        Method | None, typer.Option(help="Default: by the model's name, else mmrl.")
    ] = None,
    classes: Annotated[
        Classes, typer.Option(help="Train on all classes, or on the base half.")
    ] = Classes.all,
    shots: Annotated[int, typer.Option(min=1, help="Images per class.")] = 16,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    template: TemplateOption = None,
    data_root: RootOption = None,
    epochs: Annotated[int | None, typer.Option(help="Default: the paper's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: the paper's.")] = None,
    lr: Annotated[float | None, typer.Option(help="Default: the paper's.")] = None,
    flip: Annotated[bool, typer.Option(help="Mirror training images at random.")] = True,
    precision: PrecisionOption = Precision.fp32,
    text_chunk_size: Annotated[
        int | None, typer.Option(help="Classes at a time: less memory, more time.")
    ] = None,
    reg_weight: Annotated[float | None, typer.Option(help="lambda.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Weight of the class feature.")] = None,
    beta: Annotated[float | None, typer.Option(help="Share of the fresh tokens.")] = None,
    num_rep_tokens: Annotated[int | None, typer.Option(help="K.")] = None,
    rep_dim: Annotated[int | None, typer.Option(help="d_r.")] = None,
    start_layer: Annotated[int | None, typer.Option(help="J, of the text tower.")] = None,
    fusion: FusionOption = Fusion.logits,
    test_split: Annotated[Split, typer.Option(help="val: for choosing settings.")] = Split.test,
    device: DeviceOption = None,
    workers: WorkersOption = 0,
    quiet: Annotated[bool, typer.Option(help="No progress bars.")] = False,
) -> None:
    """Train an adapter from a few images per class, test it, save it."""
    from . import assets, recipes
    from .building import resolve_name
    from .protocols import ADAPTER, FewShotRun, Runtime, execute
    from .registry import split_name
    from .tables import scores_table

    name = resolve_name(model or assets.MODEL_NAME, method and method.value)
    protocol = "base-to-novel" if classes is Classes.base else "few-shot"
    changes = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    changes["text_chunk_size"] = text_chunk_size
    run = FewShotRun(
        model=name,
        pretrained=pretrained,
        data=data,
        method=split_name(name)[0],
        classes=classes.value,
        shots=shots,
        test_split=test_split.value,
        fusion=fusion.value,
        data_root=str(data_root) if data_root else None,
        template=template,
        settings=_given(
            reg_weight=reg_weight,
            alpha=alpha,
            beta=beta,
            num_rep_tokens=num_rep_tokens,
            rep_dim=rep_dim,
            start_layer=start_layer,
        ),
        train=recipes.changed(
            recipes.recipe(split_name(name)[0], protocol).train,
            **_given(**changes),
            seed=seed,
            flip=flip,
            precision=precision.value,
        ),
    )
    runtime = Runtime(device=device, workers=workers, quiet=quiet, say=_say)
    results = execute(run, output, runtime)
    title = f"{data}, {shots} shots, seed {seed}, {test_split.value} images, accuracy in %"
    lines = {"frozen CLIP": results["zero_shot"], results["method"]: results["metrics"]}
    out.print(scores_table(title, lines))
    _say(
        f"{results['trainable_parameters']:,} trained parameters, {results['train_seconds']:.1f} s "
        f"({results['train_ms_per_image']:.2f} ms per image)\nadapter: {output / ADAPTER}"
    )


@app.command(name="eval")
@_command
def evaluate(
    adapter: AdapterOption,
    data: DataOption,
    classes: Annotated[Classes, typer.Option(help="Which classes are told apart.")] = Classes.all,
    features: Annotated[
        Features,
        typer.Option(help="auto: both for classes seen in training, the class feature for others."),
    ] = Features.auto,
    fusion: FusionOption = Fusion.logits,
    template: TemplateOption = None,
    data_root: RootOption = None,
    split: Annotated[Split, typer.Option(help="Which images.")] = Split.test,
    pretrained: BaseOption = None,
    precision: PrecisionOption = Precision.fp32,
    alpha: Annotated[float | None, typer.Option(help="Another mix than in training.")] = None,
    beta: Annotated[float | None, typer.Option(help="Another beta than in training.")] = None,
    device: DeviceOption = None,
    workers: WorkersOption = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress bars.")] = False,
) -> None:
    """Score an adapter, and frozen CLIP beside it."""
    from .building import build_from_adapter
    from .data import DEFAULT_TEMPLATE, load_data
    from .evaluate import choose_features
    from .precision import pick_device
    from .protocols import Runtime, score
    from .tables import scores_table

    loaded = load_data(data, data_root=data_root, template=template).select(classes.value)
    built, info = build_from_adapter(
        adapter,
        base_pretrained=pretrained,
        settings=_given(alpha=alpha, beta=beta),
        device=pick_device(device),
    )
    if template is None and loaded.template == DEFAULT_TEMPLATE and info["template"]:
        loaded = loaded.with_template(info["template"])
    chosen, reason = choose_features(features.value, loaded.class_names, info["class_names"])
    how = {
        "fusion": fusion.value,
        "precision": precision.value,
        "runtime": Runtime(workers=workers, quiet=quiet),
    }
    adapted = score(built, loaded, split.value, features=chosen, **how)
    frozen = score(built, loaded, split.value, features="frozen", **how)
    result = {
        "adapter": str(adapter),
        "data": data,
        "classes": classes.value,
        "split": split.value,
        "template": loaded.template,
        "features": chosen,
        "fusion": fusion.value,
        "images": len(adapted.labels),
        "accuracy": round(adapted.accuracy, 4),
        "zero_shot": round(frozen.accuracy, 4),
        "eval_images_per_second": round(adapted.images_per_second, 1),
    }
    if as_json:
        _say(json.dumps(result))
        return
    _say(f"features: {reason}")
    title = f"{data}, {classes.value} classes, {result['images']} {split.value} images"
    lines = {
        "frozen CLIP": {"accuracy": result["zero_shot"]},
        info["config"]["variant"]: {"accuracy": result["accuracy"]},
    }
    out.print(scores_table(title, lines))


@app.command()
@_command
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    adapter: AdapterOption,
    top: Annotated[int, typer.Option(min=1, help="Classes shown per image.")] = 3,
    pretrained: BaseOption = None,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Name what is on images, among the classes the adapter was trained on."""
    from .classifier import FewShotClassifier

    classifier = FewShotClassifier.from_adapter(adapter, pretrained=pretrained, device=device)
    for path, row in zip(images, classifier.predict_proba(images), strict=True):
        best = row.argsort()[::-1][:top]
        found = {str(classifier.classes_[i]): round(float(row[i]), 4) for i in best}
        if as_json:
            _say(json.dumps({"image": str(path), "classes": found}))
        else:
            _say(f"{path}: " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in found.items()))


@app.command()
@_command
def demo(
    output: Annotated[Path, typer.Option(help="Where runs and picture go.")] = Path("mmrl-demo"),
    device: DeviceOption = "cpu",
    quiet: Annotated[bool, typer.Option(help="No progress bars.")] = False,
) -> None:
    """Offline, about a minute: a CLIP of printed characters learns handwritten digits."""
    from .demo import FIGURE, run_demo
    from .protocols import Runtime
    from .tables import comparison_table

    _say(
        "A tiny CLIP that has seen printed characters only is shown 16 handwritten images each of "
        "zero .. four.\nThen it reads these (base) and, by name alone, five .. nine (novel)."
    )
    rows = run_demo(output, Runtime(device=device, quiet=quiet, say=_say))
    out.print(comparison_table(rows))
    _say(f"runs and adapters: {output}   picture: {output / FIGURE}")


@app.command()
@_command
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
    from . import speed as bench
    from .adapters import write_atomically
    from .report import speed_figure
    from .tables import speed_table

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

    def say(text: str) -> None:
        err.print(text, highlight=False, markup=False)

    if not sweep:
        result = bench.measure(settings, say)
        _say(json.dumps(result)) if as_json else out.print(speed_table(result))
        return
    results = bench.sweep(settings, largest_reference=largest_reference, say=say)
    write_atomically(output / "speed.json", (json.dumps(results, indent=2) + "\n").encode())
    speed_figure(results, output / "speed.png")
    if as_json:
        _say(json.dumps(results))
        return
    for result in results:
        out.print(speed_table(result))
    _say(f"figure: {output / 'speed.png'}   numbers: {output / 'speed.json'}")


def _given(**values: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def main() -> None:
    app()
