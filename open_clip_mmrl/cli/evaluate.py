"""`open-clip-mmrl eval` and `predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .common import (
    AdapterOption,
    BaseOption,
    Classes,
    DataOption,
    DeviceOption,
    Features,
    Fusion,
    FusionOption,
    Precision,
    PrecisionOption,
    RootOption,
    Split,
    TemplateOption,
    WorkersOption,
    command,
    drop_none,
    out,
    say,
)


@command
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
    from ..data import load_data
    from ..evaluation.metrics import accuracy
    from ..evaluation.predict import choose_features
    from ..experiments.run_spec import Runtime
    from ..experiments.score import percent, score_part
    from ..hub.load import build_from_adapter
    from ..utils.devices import pick_device
    from .tables import scores_table

    data_set = load_data(data, data_root=data_root, template=template, quiet=quiet)
    data_set = data_set.select(classes.value)
    loaded, info = build_from_adapter(
        adapter,
        base_pretrained=pretrained,
        settings=drop_none(alpha=alpha, beta=beta),
        device=pick_device(device),
    )
    if not data_set.own_template and info["template"]:
        data_set = data_set.with_template(info["template"])
    chosen, reason = choose_features(features.value, data_set.class_names, info["class_names"])
    runtime = Runtime(workers=workers, quiet=quiet)
    part, speed = score_part(loaded, data_set, split.value, precision.value, runtime)
    scores = part.scores(chosen, loaded.model.config.alpha, fusion.value)
    result = {
        "adapter": str(adapter),
        "data": data,
        "classes": classes.value,
        "split": split.value,
        "template": data_set.template,
        "features": chosen,
        "fusion": fusion.value,
        "images": len(part.labels),
        "accuracy": percent(accuracy(scores, part.labels)),
        "zero_shot": percent(accuracy(part.frozen, part.labels)),
        "eval_images_per_second": round(speed, 1),
    }
    if as_json:
        say(json.dumps(result))
        return
    say(f"features: {reason}\nprompt: {data_set.template}")
    title = f"{data}, {classes.value} classes, {result['images']} {split.value} images"
    lines = {
        "frozen CLIP": {"accuracy": result["zero_shot"]},
        info["config"]["variant"]: {"accuracy": result["accuracy"]},
    }
    out.print(scores_table(title, lines))


@command
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    adapter: AdapterOption,
    top: Annotated[int, typer.Option(min=1, help="Classes shown per image.")] = 3,
    pretrained: BaseOption = None,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Name what is on images, among the classes the adapter was trained on."""
    from ..classifier import FewShotClassifier

    classifier = FewShotClassifier.from_adapter(adapter, pretrained=pretrained, device=device)
    for path, row in zip(images, classifier.predict_proba(images), strict=True):
        best = row.argsort()[::-1][:top]
        found = {str(classifier.classes_[i]): round(float(row[i]), 4) for i in best}
        if as_json:
            say(json.dumps({"image": str(path), "classes": found}))
        else:
            say(f"{path}: " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in found.items()))
