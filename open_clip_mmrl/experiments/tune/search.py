"""Settings trained together on one fold, and the logits of what it holds out.

Shapes: N images, C classes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from ...data import ImageData
from ...data.loading.device_augment import training_images
from ...data.loading.images import ImageSet, eval_transform, in_order, loader
from ...evaluation.logits import Logits
from ...evaluation.predict import build_classifier, predict_all
from ...hub.load import LoadedModel, draw_learner
from ...models.mmrl_clip import MMRLCLIP
from ...models.precision import autocast, in_half
from ...models.task import FrozenClasses
from ...training.together import train_together
from ..resolve import ResolvedRun
from .folds import Fold
from .trials import Settings

logger = logging.getLogger(__name__)


def fold_logits(
    loaded: LoadedModel,
    job: ResolvedRun,
    fold: Fold,
    grid: Sequence[Settings],
) -> list[tuple[Settings, Logits]]:
    """Train each of some settings on a fold, as the run would, and score what it holds out.

    Images are read, and frozen CLIP runs on them, once for all settings. Settings whose training
    diverges are left out, with a warning.

    Args:
        loaded: gives the base; its own learner is not trained.
        job: the run, whose training is repeated.
        fold: of the run's images.
        grid: settings to train with.

    Returns:
        Settings, and their logits against the fold's classes in their order.
    """
    run, runtime, data = job.run, job.runtime, fold.trained_on
    models = [loaded.model.sibling(loaded.model.config.replace(**settings)) for settings in grid]
    for model in models:
        draw_learner(model, run.train.seed)
    tokens = loaded.class_prompts(data.class_names, data.template, data.prompts)
    finite = train_together(
        models,
        FrozenClasses.of(loaded.model, tokens, keep=run.train.text_cache),
        training_images(loaded.model, data.train, run.train, runtime.cache_gb),
        run.train,
        workers=runtime.workers,
        quiet=runtime.quiet,
    )
    for settings, is_finite in zip(grid, finite, strict=True):
        if not is_finite:
            logger.warning("%s: training on held-out images diverged; left out.", words(settings))
    learned = [model for model, is_finite in zip(models, finite, strict=True) if is_finite]
    kept = [settings for settings, is_finite in zip(grid, finite, strict=True) if is_finite]
    return list(zip(kept, _logits_of_each(loaded, learned, fold.data, job), strict=True))


def _logits_of_each(
    loaded: LoadedModel, models: Sequence[MMRLCLIP], data: ImageData, job: ResolvedRun
) -> list[Logits]:
    """Score the test split by several models on one base, whose frozen layers run once."""
    precision = job.run.train.precision
    tokens = loaded.class_prompts(data.class_names, data.template, data.prompts)
    classifiers = [build_classifier(model, tokens, precision) for model in models]
    half, images = (
        in_half(loaded.model, precision),
        ImageSet(data.test, eval_transform(loaded.model)),
    )
    parts: list[list[Logits]] = [[] for _ in models]
    for pixels, labels in loader(images, in_order(len(images)), job.runtime.workers):
        with autocast(precision, job.device):
            frozen = half.frozen_images(pixels.to(job.device))
        for found, model, classifier in zip(parts, models, classifiers, strict=True):
            batch = [(frozen, labels)]
            found.append(predict_all(model, classifier, batch, precision=precision))
    return [_joined(found, data.class_names) for found in parts]


def _joined(parts: Sequence[Logits], names: Sequence[str]) -> Logits:
    by_rep = [part.by_rep for part in parts if part.by_rep is not None]
    return Logits(
        by_class=torch.cat([part.by_class for part in parts]),
        by_rep=torch.cat(by_rep) if by_rep else None,
        frozen=torch.cat([part.frozen for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        names=names,
    )


def words(settings: Settings) -> str:
    """Return settings for messages: "reg_weight 0.5, beta 0.9"."""
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())
