"""What a trained model is tested on, and everything that is said of it, from one pass per set.

All test images are scored against all classes once, by the class feature, the representation
feature and frozen CLIP. A class's logit does not depend on the other classes, so the base half,
the novel half, both at once, and every alpha are read off the same logits.

Shapes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ..data import ImageData
from ..data.loading.images import ImageSet, eval_transform, in_order, loader
from ..data.sampling import base_novel_split
from ..evaluation.metrics import (
    accuracy,
    alpha_curve,
    calibration_error,
    generalized,
    harmonic_mean,
    per_class_accuracy,
)
from ..evaluation.predict import build_classifier, predict, predict_all
from ..hub.load import LoadedModel
from ..models.ops import mix
from ..utils.progress import Progress
from .run_spec import FewShotRun, Runtime

DECOUPLED = {"w/o DS1": ("class", "class"), "w/o DS2": ("fused", "fused")}
"""What the ablation of the decoupling scores base and novel classes with."""


@dataclass(frozen=True)
class Part:
    """Test images of some classes, scored against these classes alone; labels 0 .. C-1."""

    by_class: Tensor
    by_rep: Tensor | None
    frozen: Tensor
    labels: Tensor
    names: Sequence[str]

    def scores(self, features: str, alpha: float, fusion: str) -> Tensor:
        """Scores [N, C] by "class", "fused" or "frozen" features."""
        if features == "fused":
            return mix(self.by_class, self.by_rep, alpha, fusion)
        return self.by_class if features == "class" else self.frozen


def score_part(
    loaded: LoadedModel, data: ImageData, split: str, precision: str, runtime: Runtime
) -> tuple[Part, float]:
    """One pass over one part of a data set, "test" or "val", against all of its classes.

    Also images per second of the adapted model alone with both features, measured on the first
    batch: the pass itself runs the frozen branch as well.
    """
    examples = getattr(data, split)
    if not examples:
        raise ValueError(f"{data.spec} has no {split} images to score.")
    tokens = loaded.class_tokens(data.class_names, data.template)
    classifier = build_classifier(loaded.model, tokens, precision)
    order = in_order(len(examples))
    batches = iter(loader(ImageSet(examples, eval_transform(loaded.model)), order, runtime.workers))
    with Progress(f"scoring {data.spec}", len(order), quiet=runtime.quiet) as progress:
        first = next(batches)
        found = predict_all(
            loaded.model,
            classifier,
            chain([first], batches),
            precision=precision,
            progress=progress,
        )
    speed = predict(
        loaded.model, classifier, [first], features="fused", precision=precision
    ).images_per_second
    part = Part(found.by_class, found.by_rep, found.frozen, found.labels, data.class_names)
    return part, speed


def half(part: Part, classes: Sequence[int]) -> Part:
    """The images of some consecutive classes, and the scores of these classes."""
    first, last = classes[0], classes[-1] + 1
    rows = (part.labels >= first) & (part.labels < last)
    return Part(
        by_class=part.by_class[rows, first:last],
        by_rep=None if part.by_rep is None else part.by_rep[rows, first:last],
        frozen=part.frozen[rows, first:last],
        labels=part.labels[rows] - first,
        names=part.names[first:last],
    )


def score_run(
    loaded: LoadedModel, data: ImageData, run: FewShotRun, runtime: Runtime
) -> dict[str, Any]:
    """The tested part of results.json; see `_all` and `_halves` for its keys."""
    part, speed = score_part(loaded, data, run.test_split, run.train.precision, runtime)
    tested = _halves(part, loaded, run) if run.classes == "base" else _all(part, loaded, run)
    if run.method == "zeroshot":
        for name in ("metrics", "calibration", "generalized"):
            if name in tested:
                tested[name] = tested["zero_shot" if name == "metrics" else f"{name}_zero_shot"]
        del tested["alpha_curve"]
    return {**tested, "eval_images_per_second": round(speed, 1)}


def _features(run: FewShotRun) -> tuple[str, str]:
    """What classes seen in training, and new ones, are scored with."""
    if run.method == "zeroshot":
        return "frozen", "frozen"
    return DECOUPLED.get((run.ablation or {}).get("value"), ("fused", "class"))


def _all(part: Part, loaded: LoadedModel, run: FewShotRun) -> dict[str, Any]:
    """All classes were seen in training."""
    scores = part.scores(_features(run)[0], loaded.model.config.alpha, run.fusion)
    return {
        "metrics": {"accuracy": percent(accuracy(scores, part.labels))},
        "zero_shot": {"accuracy": percent(accuracy(part.frozen, part.labels))},
        "calibration": {"accuracy": percent(_error(scores, part))},
        "calibration_zero_shot": {"accuracy": percent(_error(part.frozen, part))},
        "per_class": {"all": by_name(scores, part)},
        "alpha_curve": [{"alpha": a, "accuracy": value} for a, value in _curve(part).items()],
    }


def _halves(part: Part, loaded: LoadedModel, run: FewShotRun) -> dict[str, Any]:
    """Base classes were seen in training, novel ones were not."""
    alpha, features = loaded.model.config.alpha, _features(run)
    classes = base_novel_split(len(part.names))
    base, novel = (half(part, which) for which in classes)
    scores = {
        "base": base.scores(features[0], alpha, run.fusion),
        "novel": novel.scores(features[1], alpha, run.fusion),
    }
    parts = {"base": base, "novel": novel}
    curves = {k: _curve(p) for k, p in parts.items()}
    return {
        "metrics": halves(*(accuracy(scores[k], parts[k].labels) for k in parts)),
        "zero_shot": halves(*(accuracy(p.frozen, p.labels) for p in parts.values())),
        **_generalized(part, len(classes[0]), alpha),
        "calibration": {k: percent(_error(scores[k], parts[k])) for k in parts},
        "calibration_zero_shot": {k: percent(_error(p.frozen, p)) for k, p in parts.items()},
        "per_class": {k: by_name(scores[k], parts[k]) for k in parts},
        "alpha_curve": [{"alpha": a, **{k: curves[k][a] for k in parts}} for a in curves["base"]],
    }


def _generalized(part: Part, num_seen: int, alpha: float) -> dict[str, dict[str, float]]:
    """Base and novel classes in one classifier, for the adapted and for the frozen model."""
    seen = torch.arange(len(part.names)) < num_seen
    rows = seen[part.labels]

    def measured(by_class: Tensor, by_rep: Tensor | None) -> dict[str, float]:
        groups = [
            (by_class[r], None if by_rep is None else by_rep[r], part.labels[r])
            for r in (rows, ~rows)
        ]
        return _percents(generalized(*groups, seen, alpha))

    return {
        "generalized": measured(part.by_class, part.by_rep),
        "generalized_zero_shot": measured(part.frozen, None),
    }


def _curve(part: Part) -> dict[float, float]:
    """Accuracy with both features by alpha, from 0 to 1."""
    found = alpha_curve(part.by_class, part.by_rep, part.labels)
    return {point["alpha"]: percent(point["accuracy"]) for point in found}


def score_target(
    loaded: LoadedModel, data: ImageData, run: FewShotRun, runtime: Runtime
) -> dict[str, float]:
    """Accuracy on another data set: by the class feature alone, and by frozen CLIP."""
    part, _ = score_part(loaded, data, run.test_split, run.train.precision, runtime)
    zero_shot = percent(accuracy(part.frozen, part.labels))
    if run.method == "zeroshot":
        return {"accuracy": zero_shot, "zero_shot": zero_shot}
    return {"accuracy": percent(accuracy(part.by_class, part.labels)), "zero_shot": zero_shot}


def halves(base: float, novel: float) -> dict[str, float]:
    """The three figures of base-to-novel, in percent."""
    return _percents({"base": base, "novel": novel, "hm": harmonic_mean(base, novel)})


def by_name(scores: Tensor, part: Part) -> dict[str, float | None]:
    """Accuracy of every class, by its name."""
    found = per_class_accuracy(scores, part.labels, len(part.names))
    values = (None if value is None else percent(value) for value in found)
    return dict(zip(part.names, values, strict=True))


def _error(scores: Tensor, part: Part) -> float:
    """Calibration error; the softmax of log probabilities gives the probabilities back."""
    return calibration_error(scores.softmax(dim=1), part.labels)


def percent(value: float) -> float:
    return round(value, 4)


def _percents(values: Mapping[str, float]) -> dict[str, float]:
    return {name: percent(value) for name, value in values.items()}
