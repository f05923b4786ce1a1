"""The linear probe in the protocols' terms; the zero-shot model needs nothing but `score_run`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data import ImageData
from ..data.prompts import readable
from ..data.sampling import base_novel_split
from ..evaluation.linear_probe import LinearProbe, frozen_features, train_probe
from ..evaluation.metrics import accuracy, calibration_error
from ..evaluation.predict import build_classifier
from ..hub.load import LoadedModel
from ..models.ops import cosine_logits, unit
from .run_dir import TARGETS
from .run_spec import FewShotRun, Runtime
from .score import Part, by_name, half, halves, percent
from .transfer import score_targets


def probe_results(
    loaded: LoadedModel,
    data: ImageData,
    subset: ImageData,
    run: FewShotRun,
    output: Path,
    runtime: Runtime,
) -> dict[str, Any]:
    """Fit a probe on `subset` and test it; it can answer with the classes trained on alone.

    So base-to-novel has no novel accuracy here, and no harmonic mean: both are None. So has a
    target of transfer with other classes no accuracy; ImageNet's relatives have its own.
    """
    start = time.perf_counter()
    probe = train_probe(
        loaded.model, subset, shots=run.shots, seed=run.train.seed, **_how(run, runtime)
    )
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    features, part = _tested(loaded, data, run, runtime)
    speed = len(features) / (time.perf_counter() - start)
    results = {
        **_scores(probe, features, part, run),
        "regularisation": {"C": probe.regularization, "chosen_on": probe.chosen_on},
        "trainable_parameters": probe.num_parameters,
        "train_seconds": round(seconds, 3),
        "train_ms_per_image": round(1000 * seconds / len(subset.train), 3),
        "eval_images_per_second": round(speed, 1),
    }
    if run.targets:
        score = partial(_score_target, probe, data.class_names)
        results[TARGETS] = score_targets(loaded, run, output, runtime, score)
    return results


def _scores(probe: LinearProbe, features: Tensor, part: Part, run: FewShotRun) -> dict[str, Any]:
    """What `score_run` says of a model, as far as it can be said of a probe."""
    if run.classes == "all":
        scores = probe.scores(features)
        error = calibration_error(scores.softmax(dim=1), part.labels)
        return {
            "metrics": {"accuracy": percent(accuracy(scores, part.labels))},
            "zero_shot": {"accuracy": percent(accuracy(part.frozen, part.labels))},
            "calibration": {"accuracy": percent(error)},
            "per_class": {"all": by_name(scores, part)},
        }
    kept = base_novel_split(len(part.names))
    base, novel = half(part, kept[0]), half(part, kept[1])
    scores = probe.scores(features[part.labels < len(kept[0])])
    error = calibration_error(scores.softmax(dim=1), base.labels)
    return {
        "metrics": {"base": percent(accuracy(scores, base.labels)), "novel": None, "hm": None},
        "zero_shot": halves(
            accuracy(base.frozen, base.labels), accuracy(novel.frozen, novel.labels)
        ),
        "calibration": {"base": percent(error), "novel": None},
        "per_class": {"base": by_name(scores, base)},
    }


def _score_target(
    probe: LinearProbe,
    classes: Sequence[str],
    loaded: LoadedModel,
    data: ImageData,
    run: FewShotRun,
    runtime: Runtime,
) -> dict[str, float | None]:
    """Accuracy on a target whose classes are all among those the probe was trained on."""
    features, part = _tested(loaded, data, run, runtime)
    place = {readable(name): label for label, name in enumerate(classes)}
    labels = [place.get(readable(name)) for name in data.class_names]
    found = None
    if None not in labels:
        found = percent(accuracy(probe.scores(features)[:, labels], part.labels))
    return {"accuracy": found, "zero_shot": percent(accuracy(part.frozen, part.labels))}


def _how(run: FewShotRun, runtime: Runtime) -> dict[str, Any]:
    return {"precision": run.train.precision, "workers": runtime.workers, "quiet": runtime.quiet}


def _tested(
    loaded: LoadedModel, data: ImageData, run: FewShotRun, runtime: Runtime
) -> tuple[Tensor, Part]:
    """Features [N, E] of the test images, and frozen CLIP's own answers from the same features."""
    examples = getattr(data, run.test_split)
    if not examples:
        raise ValueError(f"{data.spec} has no {run.test_split} images to score.")
    features = frozen_features(loaded.model, examples, **_how(run, runtime))
    tokens = loaded.class_tokens(data.class_names, data.template)
    text = build_classifier(loaded.model, tokens, run.train.precision).frozen.cpu()
    with torch.no_grad():
        device = loaded.model.visual.proj.device
        image = unit(features).to(device, text.dtype)
        logits = cosine_logits(loaded.model, image, text.to(device)).cpu()
    labels = torch.tensor([example.label for example in examples])
    part = Part(by_class=logits, by_rep=None, frozen=logits, labels=labels, names=data.class_names)
    return features, part
