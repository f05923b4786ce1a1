"""`open-clip-mmrl eval`."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from .common import (
    DATA,
    METHOD,
    AdapterOption,
    BaseOption,
    DataOption,
    DeviceOption,
    FusionOption,
    JsonOption,
    NamesOption,
    NestedOption,
    PrecisionOption,
    QuietOption,
    RootOption,
    Split,
    TemplateOption,
    WorkersOption,
    command,
    drop_none,
    option,
    out,
    say,
)


@command()
def evaluate(
    adapter: AdapterOption,
    data: DataOption,
    classes: Annotated[
        Literal["all", "base", "novel"], option(DATA, "Classes to choose among.")
    ] = "all",
    features: Annotated[
        Literal["auto", "class", "fused"],
        option(METHOD, "auto: both for classes seen in training, the class feature for others."),
    ] = "auto",
    fusion: FusionOption = "logits",
    template: TemplateOption = None,
    data_root: RootOption = None,
    class_names: NamesOption = None,
    nested: NestedOption = None,
    split: Annotated[Split, option(DATA, "Images to score.")] = "test",
    pretrained: BaseOption = None,
    precision: PrecisionOption = "fp32",
    alpha: Annotated[
        float | None, option(METHOD, "Another mix than in training.", metavar="X")
    ] = None,
    beta: Annotated[
        float | None, option(METHOD, "Another beta than in training.", metavar="X")
    ] = None,
    device: DeviceOption = None,
    workers: WorkersOption = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score an adapter, and frozen CLIP for comparison."""
    from ..data.check_images import require_readable
    from ..data.load import read_names
    from ..evaluation.choose_features import choose_features
    from ..evaluation.logits import Scoring
    from ..evaluation.metrics import accuracy
    from ..experiments.run_spec import Runtime
    from ..experiments.score import percent, score_split
    from ..experiments.scored_data import data_to_score
    from ..hub.adapter_reading import read_adapter
    from ..hub.load import build_from_adapter
    from ..utils.devices import pick_device
    from .tables import scores_table

    data_set = data_to_score(
        data,
        read_adapter(adapter),
        data_root=data_root,
        template=template,
        class_names=read_names(data, class_names, nested=bool(nested)) if class_names else None,
        nested=nested,
        quiet=quiet,
    ).select(classes)
    loaded, info = build_from_adapter(
        adapter,
        base_pretrained=pretrained,
        settings=drop_none(alpha=alpha, beta=beta),
        device=pick_device(device),
    )
    require_readable(data_set.split(split), quiet=quiet)
    chosen = choose_features(
        features,
        data_set.class_names,
        info.class_names,
        lambda names: loaded.readings(names, info.template),
    )
    runtime = Runtime(workers=workers, quiet=quiet)
    logits, speed = score_split(loaded, data_set, split, precision, runtime)
    scores = logits.scores(Scoring(chosen.features, loaded.model.config.alpha, fusion, chosen.seen))
    result = {
        "adapter": str(adapter),
        "data": data,
        "classes": classes,
        "split": split,
        "template": data_set.template,
        "features": "mixed" if chosen.seen else chosen.features,
        "fusion": fusion,
        "images": len(logits.labels),
        "accuracy": percent(accuracy(scores, logits.labels)),
        "zero_shot": percent(accuracy(logits.frozen, logits.labels)),
        "eval_images_per_second": round(speed, 1),
    }
    if as_json:
        say(json.dumps(result))
        return
    say(f"features: {chosen.reason}\nprompt: {data_set.template}")
    title = f"{data}, {classes} classes, {result['images']} {split} images"
    lines = {
        "frozen CLIP": {"accuracy": result["zero_shot"]},
        info.config.variant: {"accuracy": result["accuracy"]},
    }
    out.print(scores_table(title, lines))
