"""The linear probe as a run's method.

It has answers for the classes trained on alone. So base-to-novel has no novel accuracy and no
harmonic mean for it, and a target of transfer with other classes no accuracy: they are None.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from ..data import ImageData
from ..data.sampling import base_novel_split
from ..evaluation.linear_probe import LinearProbe, frozen_features, train_probe
from ..evaluation.logits import Logits
from ..evaluation.metrics import accuracy
from ..evaluation.predict import build_classifier
from ..hub.load import LoadedModel
from ..models.ops import cosine_logits, unit
from .measured import RunScores, TrainingRecord
from .resolve import ResolvedRun
from .result_parts import ProbeStrength
from .run_spec import FewShotRun, Runtime
from .score import accuracy_by_name, base_novel_hm, ece, percent
from .transfer import TargetScorer


def fit_probe(loaded: LoadedModel, job: ResolvedRun) -> tuple[LinearProbe, TrainingRecord]:
    """Fit a probe on the run's training images."""
    start = time.perf_counter()
    probe = train_probe(
        loaded.model,
        job.subset,
        shots=job.run.shots,
        seed=job.run.train.seed,
        precision=job.run.train.precision,
        workers=job.runtime.workers,
        quiet=job.runtime.quiet,
    )
    seconds = time.perf_counter() - start
    return probe, TrainingRecord(
        trainable_parameters=probe.num_parameters,
        train_seconds=round(seconds, 3),
        train_ms_per_image=round(1000 * seconds / len(job.subset.train), 3),
        regularization=ProbeStrength(probe.regularization, probe.chosen_on),
    )


def takes_seconds(loaded: LoadedModel, job: ResolvedRun) -> bool:
    """Return whether a probe of the run's training images is fitted within about 20 seconds.

    20 s is what the search took for 800 images of 50 classes and 512 features on two CPU cores.
    """
    width = loaded.model.image_tower.embed_dim
    return len(job.subset.train) * width * job.subset.num_classes <= 2.5e7


def score_probe(
    probe: LinearProbe, loaded: LoadedModel, job: ResolvedRun, features: Tensor | None = None
) -> RunScores:
    """Score the run's test split.

    Args:
        probe: fitted on the run's training images.
        loaded: the model.
        job: the run.
        features: of the test images, where another method's scores have them.
    """
    start, shared = time.perf_counter(), features is not None
    features, frozen = _frozen_pass(loaded, job.data, job.run, job.runtime, features)
    speed = None if shared else round(len(features) / (time.perf_counter() - start), 1)
    if job.run.classes == "all":
        scores, labels = probe.scores(features), frozen.labels
        return RunScores(
            metrics={"accuracy": percent(accuracy(scores, labels))},
            zero_shot={"accuracy": percent(accuracy(frozen.frozen, labels))},
            calibration={"accuracy": ece(scores, labels)},
            per_class={"all": accuracy_by_name(scores, frozen)},
            eval_images_per_second=speed,
        )
    base_classes, novel_classes = base_novel_split(len(frozen.names))
    base, novel = frozen.split(base_classes), frozen.split(novel_classes)
    scores = probe.scores(features[frozen.labels < len(base_classes)])
    return RunScores(
        metrics={"base": percent(accuracy(scores, base.labels)), "novel": None, "hm": None},
        zero_shot=base_novel_hm(
            accuracy(base.frozen, base.labels), accuracy(novel.frozen, novel.labels)
        ),
        calibration={"base": ece(scores, base.labels), "novel": None},
        per_class={"base": accuracy_by_name(scores, base)},
        eval_images_per_second=speed,
    )


def target_scorer(probe: LinearProbe, trained_on: Sequence[str]) -> TargetScorer:
    """Return the scorer of targets whose classes are all among those the probe was trained on."""

    def score(
        loaded: LoadedModel, data: ImageData, run: FewShotRun, runtime: Runtime
    ) -> tuple[float | None, float]:
        features, frozen = _frozen_pass(loaded, data, run, runtime)
        known = loaded.readings(trained_on, data.template)
        place = {reading: label for label, reading in enumerate(known)}
        labels = [place.get(key) for key in loaded.readings(data.class_names, data.template)]
        found = None
        if None not in labels:
            found = percent(accuracy(probe.scores(features)[:, labels], frozen.labels))
        return found, percent(accuracy(frozen.frozen, frozen.labels))

    return score


def _frozen_pass(
    loaded: LoadedModel,
    data: ImageData,
    run: FewShotRun,
    runtime: Runtime,
    features: Tensor | None = None,
) -> tuple[Tensor, Logits]:
    """Return features [N, E] of the test images, and frozen CLIP's logits from the same."""
    model, precision = loaded.model, run.train.precision
    examples = getattr(data, run.test_split)
    if not examples:
        raise ValueError(f"{data.spec} has no {run.test_split} images to score.")
    if features is None:
        features = frozen_features(
            model, examples, precision=precision, workers=runtime.workers, quiet=runtime.quiet
        )
    tokens = loaded.class_prompts(data.class_names, data.template, data.prompts)
    text = build_classifier(model, tokens, precision).frozen
    with torch.no_grad():
        image = unit(features).to(text.device, text.dtype)
        logits = cosine_logits(model, image, text).cpu()
    labels = torch.tensor([example.label for example in examples])
    return features, Logits(logits, None, logits, labels, data.class_names)
