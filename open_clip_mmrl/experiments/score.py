"""A model's scores on a test split, all from one pass over its images.

All test images are scored against all classes once. The base classes, the novel classes, both in
one classifier, and every alpha are read off the same `Logits`.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from ..config import Fusion
from ..data import ImageData
from ..data.loading.images import ImageSet, eval_transform, in_order, loader
from ..data.sampling import base_novel_split
from ..evaluation.calibration import calibrate, confidence, unknown_classes
from ..evaluation.class_metrics import confusions
from ..evaluation.logits import Logits, ScoredFeatures, Scoring
from ..evaluation.mean_image import ImageMeans, image_means, mean_logits
from ..evaluation.metrics import (
    accuracy,
    alpha_curve,
    calibration_error,
    generalized,
    harmonic_mean,
    per_class_accuracy,
)
from ..evaluation.predict import build_classifier, predict, predict_all
from ..hub.adapter_info import Calibration
from ..hub.load import LoadedModel
from ..models.ops import logit_scale
from ..peers.peer import Peer
from ..utils.progress import Progress
from .measured import RunScores
from .resolve import ResolvedRun
from .result_parts import AlphaPoint, Scores
from .run_spec import FewShotRun, Runtime

ABLATED_DECOUPLING: dict[object, tuple[ScoredFeatures, ScoredFeatures]] = {
    "w/o DS1": ("class", "class"),
    "w/o DS2": ("fused", "fused"),
}
"""Features that score base and novel classes where the decoupling is ablated."""
CONFIDENCE_LEVEL = 0.9
"""Of the sets of classes in a run's results."""


class Calibrations(NamedTuple):
    """What held-back images tell, of the adapted model and of frozen CLIP."""

    ours: Calibration
    frozen: Calibration


def score_split(
    loaded: LoadedModel,
    data: ImageData,
    split: str,
    precision: str,
    runtime: Runtime,
    peer: Peer | None = None,
    means: ImageMeans | None = None,
) -> tuple[Logits, float]:
    """Score one split of a data set, "test" or "val", against all of its classes.

    By the adapted model, or by a `peer` in its place; what the mean image of `means` scores comes
    along as `Logits.mean`.

    Returns:
        The logits, and images per second of the adapted model alone with both features, measured
        on the first batch: the pass itself runs the frozen branch as well.

    Raises:
        ValueError: the split is empty.
    """
    examples = getattr(data, split)
    if not examples:
        raise ValueError(f"{data.spec} has no {split} images to score.")
    tokens = loaded.class_prompts(data.class_names, data.template, data.prompts)
    classifier = build_classifier(loaded.model, tokens, precision, data.class_names)
    scorer = None if peer is None else peer.scorer(loaded, data)
    order = in_order(len(examples))
    batches = iter(loader(ImageSet(examples, eval_transform(loaded.model)), order, runtime.workers))
    with Progress(f"scoring {data.spec}", len(order), quiet=runtime.quiet) as progress:
        first = next(batches)
        logits = predict_all(
            loaded.model,
            classifier,
            chain([first], batches),
            class_names=data.class_names,
            precision=precision,
            progress=progress,
            scorer=scorer,
        )
    speed = predict(
        loaded.model, classifier, [first], features="fused", precision=precision, scorer=scorer
    ).images_per_second
    if means is not None:
        logits = replace(logits, mean=mean_logits(loaded.model, classifier, means))
    return logits, speed


def calibrate_run(
    loaded: LoadedModel, job: ResolvedRun, peer: Peer | None = None
) -> Calibrations | None:
    """Return what the run's held-back images tell; None where it has none."""
    if job.held_back is None:
        return None
    source, examples = job.held_back
    data, run = replace(job.subset, test=examples), job.run
    logits, _ = score_split(loaded, data, "test", run.train.precision, job.runtime, peer)
    seen, _ = _scorings(run, loaded.model.config.alpha)
    scale = logit_scale(loaded.model)
    ours, frozen = (
        calibrate(found, seen, scale, source) for found in (logits, logits.of_base_model())
    )
    if peer is None:  # a peer has no features whose mean would score as its images do
        shown = ImageSet(examples, eval_transform(loaded.model))
        batches = loader(shown, in_order(len(shown)), job.runtime.workers)
        means = image_means(loaded.model, batches, run.train.precision)
        ours = replace(ours, image_means=means)
    return Calibrations(ours, frozen)


def score_run(
    loaded: LoadedModel,
    data: ImageData,
    run: FewShotRun,
    runtime: Runtime,
    calibrations: Calibrations | None = None,
    peer: Peer | None = None,
) -> RunScores:
    """Score the run's test split, in the precision that it was trained in.

    The released code tests in float32 whatever it trained in; so does a run with precision fp32.
    """
    precision = run.train.precision
    means = calibrations.ours.image_means if calibrations else None
    logits, speed = score_split(loaded, data, run.test_split, precision, runtime, peer, means)
    features = logits.features
    if run.method == "zeroshot":
        logits = logits.of_base_model()
    seen, new = _scorings(run, loaded.model.config.alpha)
    base_to_novel = run.classes == "base"
    scores = base_novel_scores(logits, seen, new) if base_to_novel else all_scores(logits, seen)
    if base_to_novel:
        scale, known = logit_scale(loaded.model), base_novel_split(len(logits.names))[0]
        scores = replace(
            scores,
            unknown=_unknown(logits, len(known), seen, scale),
            unknown_zero_shot=_unknown(logits.of_base_model(), len(known), seen, scale),
        )
        logits = logits.split(known)
    if calibrations:
        ours = calibrations.frozen if run.method == "zeroshot" else calibrations.ours
        frozen = calibrated_scores(calibrations.frozen, logits.of_base_model(), seen)
        scores = replace(
            scores,
            calibrated=calibrated_scores(ours, logits, seen),
            calibrated_zero_shot=frozen,
        )
    curve = scores.alpha_curve if run.trains_adapter else ()
    speed = round(speed, 1)
    return replace(
        scores, alpha_curve=curve, eval_images_per_second=speed, frozen_features=features
    )


def score_target(
    loaded: LoadedModel,
    data: ImageData,
    run: FewShotRun,
    runtime: Runtime,
    peer: Peer | None = None,
) -> tuple[float, float]:
    """Return the accuracy on another data set: by the class feature alone, and by frozen CLIP."""
    logits, _ = score_split(loaded, data, run.test_split, run.train.precision, runtime, peer)
    if run.method == "zeroshot":
        logits = logits.of_base_model()
    by_class, frozen = (accuracy(s, logits.labels) for s in (logits.by_class, logits.frozen))
    return percent(by_class), percent(frozen)


def all_scores(logits: Logits, scoring: Scoring) -> RunScores:
    """Return the scores where all classes were seen in training."""
    scores, labels = logits.scores(scoring), logits.labels
    return RunScores(
        metrics={"accuracy": percent(accuracy(scores, labels))},
        zero_shot={"accuracy": percent(accuracy(logits.frozen, labels))},
        calibration={"accuracy": ece(scores, labels)},
        calibration_zero_shot={"accuracy": ece(logits.frozen, labels)},
        per_class={"all": accuracy_by_name(scores, logits)},
        alpha_curve=tuple(
            AlphaPoint(a, {"accuracy": v}) for a, v in _curve(logits, scoring.fusion)
        ),
        confusions=confusions(scores, labels, logits.names),
    )


def base_novel_scores(logits: Logits, seen: Scoring, new: Scoring) -> RunScores:
    """Return the scores where the base classes were seen in training, and the novel ones not."""
    base_classes, novel_classes = base_novel_split(len(logits.names))
    base, novel = logits.split(base_classes), logits.split(novel_classes)
    of_base, of_novel = base.scores(seen), novel.scores(new)
    is_base = torch.arange(len(logits.names)) < len(base_classes)
    curves = zip(_curve(base, seen.fusion), _curve(novel, seen.fusion), strict=True)
    return RunScores(
        generalized_rule="centered" if logits.mean else None,
        metrics=base_novel_hm(accuracy(of_base, base.labels), accuracy(of_novel, novel.labels)),
        zero_shot=base_novel_hm(
            accuracy(base.frozen, base.labels), accuracy(novel.frozen, novel.labels)
        ),
        generalized=_gzsl(logits, is_base, seen.alpha),
        generalized_zero_shot=_gzsl(logits.of_base_model(), is_base, seen.alpha),
        calibration={"base": ece(of_base, base.labels), "novel": ece(of_novel, novel.labels)},
        calibration_zero_shot={
            "base": ece(base.frozen, base.labels),
            "novel": ece(novel.frozen, novel.labels),
        },
        per_class={
            "base": accuracy_by_name(of_base, base),
            "novel": accuracy_by_name(of_novel, novel),
        },
        alpha_curve=tuple(AlphaPoint(a, {"base": b, "novel": n}) for (a, b), (_, n) in curves),
        confusions=confusions(of_base, base.labels, base.names),
    )


def base_novel_hm(base: float, novel: float) -> dict[str, float]:
    """Return both accuracies and their harmonic mean, in percent."""
    hm = harmonic_mean(base, novel)
    return {"base": percent(base), "novel": percent(novel), "hm": percent(hm)}


def accuracy_by_name(scores: Tensor, logits: Logits) -> dict[str, float | None]:
    """Return the accuracy of every class by its name; None for a class without images."""
    found = per_class_accuracy(scores, logits.labels, len(logits.names))
    values = (None if value is None else percent(value) for value in found)
    return dict(zip(logits.names, values, strict=True))


def ece(scores: Tensor, labels: Tensor) -> float:
    """Return the calibration error in percent, of logits or of log probabilities."""
    return percent(calibration_error(scores.softmax(dim=1), labels))


def percent(value: float) -> float:
    """Round as results are written."""
    return round(value, 4)


def _scorings(run: FewShotRun, alpha: float) -> tuple[Scoring, Scoring]:
    """Return how classes seen in training, and new ones, are scored."""
    point = (run.ablation or {}).get("value")
    seen, new = ABLATED_DECOUPLING.get(point, ("fused", "class"))
    return Scoring(seen, alpha, run.fusion), Scoring(new, alpha, run.fusion)


def _unknown(logits: Logits, known: int, seen: Scoring, scale: float) -> dict[str, float]:
    found = unknown_classes(logits, known, seen, scale)
    return {name: percent(value) for name, value in found.items()}


def calibrated_scores(calibration: Calibration, logits: Logits, seen: Scoring) -> Scores:
    """Return what `RunResult.calibrated` holds."""
    found = confidence(calibration, logits, seen, CONFIDENCE_LEVEL)
    return {
        "held_back": len(calibration.max_softmax),
        "confidence_level": 100 * CONFIDENCE_LEVEL,
        **{name: None if value is None else percent(value) for name, value in found.items()},
    }


def _gzsl(logits: Logits, seen: Tensor, alpha: float) -> dict[str, float]:
    return {name: percent(value) for name, value in generalized(logits, seen, alpha).items()}


def _curve(logits: Logits, fusion: Fusion) -> list[tuple[float, float]]:
    """Return (alpha, accuracy with both features)."""
    return [(alpha, percent(value)) for alpha, value in alpha_curve(logits, fusion)]
