"""`open-clip-mmrl eval`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    PromptsOption,
    QuietOption,
    RootOption,
    SeenOffsetOption,
    Split,
    TemplateOption,
    WorkersOption,
    command,
    drop_none,
    option,
    path_option,
    say,
)

if TYPE_CHECKING:
    from ..hub.adapter_info import AdapterInfo, Calibration
    from ..hub.load import LoadedModel

logger = logging.getLogger(__name__)


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
    seen_offset: SeenOffsetOption = None,
    fusion: FusionOption = "logits",
    template: TemplateOption = None,
    prompts: PromptsOption = None,
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
    output: Annotated[
        Path | None,
        path_option("Folder for a page with confusion matrix and mistakes, and all predictions."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score an adapter, compare it with frozen CLIP, show what is right and what is wrong."""
    from ..data.check_images import require_readable
    from ..data.load import read_names
    from ..data.more_prompts import read_prompts, wording
    from ..evaluation.assessment import assess, assessment_json
    from ..evaluation.choose_features import choose_features
    from ..experiments.run_spec import Runtime
    from ..experiments.score import calibrated_scores, score_split
    from ..experiments.scored_data import data_to_score
    from ..hub.adapter_reading import read_adapter
    from ..hub.load import build_from_adapter
    from ..utils.devices import pick_device
    from .eval_tables import print_evaluation
    from .tables import calibration_line

    if output is not None:
        from ..report.evaluation import require_free

        require_free(output)
    info = read_adapter(adapter)
    data_set = data_to_score(
        data,
        info,
        data_root=data_root,
        template=template,
        prompts=read_prompts(prompts),
        class_names=read_names(data, class_names, nested=bool(nested)),
        nested=nested,
        split=split,
        quiet=quiet,
    ).select(classes)
    loaded, _ = build_from_adapter(
        info,
        base_pretrained=pretrained,
        settings=drop_none(alpha=alpha, beta=beta),
        device=pick_device(device),
    )
    require_readable(data_set.split(split), quiet=quiet)
    names, shown = data_set.class_names, wording(data_set.template, data_set.prompts)
    means = info.image_means
    chosen = choose_features(
        features,
        names,
        info.class_names,
        lambda names: loaded.readings(names, info.template),
        centered=means is not None and loaded.model.config.beta == info.config.beta,
        seen_offset=seen_offset,
    )
    runtime = Runtime(workers=workers, quiet=quiet)
    means = means if chosen.centered else None
    logits, speed = score_split(loaded, data_set, split, precision, runtime, means=means)
    scoring = chosen.scoring(loaded.model.config.alpha, fusion)
    adapted = assess(logits.scores(scoring), logits.labels, names)
    frozen = assess(logits.frozen, logits.labels, names)
    result: dict[str, Any] = {
        "adapter": str(adapter),
        "data": data,
        "classes": classes,
        "split": split,
        "template": data_set.template,
        "features": chosen.kind,
        **drop_none(seen_offset=seen_offset),
        "fusion": fusion,
        "images": len(logits.labels),
        **assessment_json(adapted, frozen),
        "eval_images_per_second": round(speed, 1),
    }
    sure = None
    calibration = None if chosen.seen else _calibration(info, loaded, names, chosen.features, split)
    if calibration is not None:
        result["calibrated"] = calibrated_scores(calibration, logits, scoring)
        sure = calibration_line(result["calibrated"], adapted.calibration_error)
    title = f"{data}, {classes} classes, {len(logits.labels):,} {split} images"
    try:
        if output is not None:
            from ..report.evaluation import Evaluation, write_evaluation

            facts = {
                "adapter": f"{adapter} ({loaded.name})",
                "features": chosen.reason,
                "confidence": f"largest softmax probability of {scoring.what_decides}",
                "prompt": shown,
                **({"how sure": sure} if sure else {}),
            }
            evaluation = Evaluation(
                title=title,
                facts=facts,
                method=info.config.variant,
                class_names=names,
                split=split,
                examples=data_set.split(split),
                adapted=adapted,
                frozen=frozen,
                numbers=result,
            )
            logger.info("page: %s", write_evaluation(output, evaluation))
    finally:  # a full disk must not lose the numbers, nor a reader that has gone the page
        if as_json:
            say(json.dumps(result))
        else:
            say(f"features: {chosen.reason}\nprompt: {shown}")
            rest = "with --output DIR or --json" if output is None else f"in {output}/eval.json"
            print_evaluation(
                title, info.config.variant, adapted.confusions, frozen.confusions, rest
            )
            if sure:
                say(sure)


def _calibration(
    info: AdapterInfo, loaded: LoadedModel, names: Sequence[str], features: str, split: str
) -> Calibration | None:
    """Return the adapter's calibration if it holds for what is scored.

    It is of all classes trained on and of the adapter's own settings, and it tells nothing about
    the images that it was made of.
    """
    if info.calibration is None:
        return None
    read = [set(loaded.readings(given, info.template)) for given in (names, info.class_names)]
    own = features == "fused" and loaded.model.config == info.config and read[0] == read[1]
    if own and not info.calibration.held_back == split == "val":
        return info.calibration
    logger.info("The adapter's calibration is of other classes or settings, or of these images.")
    return None
