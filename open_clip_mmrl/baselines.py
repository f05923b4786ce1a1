"""The linear probe in the protocols' terms; the zero-shot model needs nothing but `score_run`."""

from __future__ import annotations

import time
from typing import Any

import torch

from .building import Built
from .data import ImageData
from .evaluate import build_classifier
from .probe import frozen_features, train_probe
from .prompting import class_tokens
from .runs import FewShotRun, Runtime
from .sampling import base_novel_split
from .scores import accuracy
from .task import cosine_logits, unit
from .testing import Part, by_name, half, halves, percent


def probe_results(
    built: Built, data: ImageData, subset: ImageData, run: FewShotRun, runtime: Runtime
) -> dict[str, Any]:
    """Fit a probe on `subset` and test it; it can answer with the classes trained on alone.

    So base-to-novel has no novel accuracy here, and no harmonic mean: both are None.
    """
    how = {"precision": run.train.precision, "workers": runtime.workers, "quiet": runtime.quiet}
    start = time.perf_counter()
    probe = train_probe(built.model, subset, shots=run.shots, seed=run.train.seed, **how)
    seconds = time.perf_counter() - start
    examples = getattr(data, run.test_split)
    if not examples:
        raise ValueError(f"{data.spec} has no {run.test_split} images to score.")
    start = time.perf_counter()
    features = frozen_features(built.model, examples, **how)
    speed = len(examples) / (time.perf_counter() - start)
    part = _zero_shot(built, data, features, examples, run)
    if run.classes == "base":
        kept = base_novel_split(data.num_classes)
        base, novel = half(part, kept[0]), half(part, kept[1])
        scores = probe.scores(features[part.labels < len(kept[0])])
        metrics = {"base": percent(accuracy(scores, base.labels)), "novel": None, "hm": None}
        zero_shot = halves(accuracy(base.frozen, base.labels), accuracy(novel.frozen, novel.labels))
        per_class = {"base": by_name(scores, base)}
    else:
        scores = probe.scores(features)
        metrics = {"accuracy": percent(accuracy(scores, part.labels))}
        zero_shot = {"accuracy": percent(accuracy(part.frozen, part.labels))}
        per_class = {"all": by_name(scores, part)}
    return {
        "metrics": metrics,
        "zero_shot": zero_shot,
        "per_class": per_class,
        "regularisation": {"C": probe.regularisation, "chosen_on": probe.chosen_on},
        "trainable_parameters": probe.num_parameters,
        "train_seconds": round(seconds, 3),
        "train_ms_per_image": round(1000 * seconds / len(subset.train), 3),
        "eval_images_per_second": round(speed, 1),
    }


def _zero_shot(built: Built, data: ImageData, features, examples, run: FewShotRun) -> Part:
    """Frozen CLIP's own answers, from the same features."""
    tokens = class_tokens(built.model, built.tokenizer, data.class_names, data.template)
    text = build_classifier(built.model, tokens, run.train.precision).frozen.cpu()
    with torch.no_grad():
        device = built.model.visual.proj.device
        image = unit(features).to(device, text.dtype)
        logits = cosine_logits(built.model, image, text.to(device)).cpu()
    labels = torch.tensor([example.label for example in examples])
    return Part(by_class=logits, by_rep=None, frozen=logits, labels=labels, names=data.class_names)
