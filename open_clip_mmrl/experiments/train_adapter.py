"""Training of an adapter, or reuse of one that another run trained in the same way."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from ..data.image_file import is_turned
from ..hub.adapter_file import load_learner
from ..hub.adapter_reading import read_adapter
from ..hub.class_tokens import warn_of_look_alikes
from ..hub.load import LoadedModel
from ..training.record import TrainSummary
from ..utils.text import listing
from .describe import whole_block
from .measured import TrainingRecord
from .rank_training import training
from .resolve import ResolvedRun
from .results import ADAPTER, RESULTS, RunResult
from .run_dir import finished_run, stopped_run_names_version
from .run_spec import training_digest, training_key, with_absolute_paths
from .tune.select import select

logger = logging.getLogger(__name__)


def train_adapter(
    loaded: LoadedModel, job: ResolvedRun, reuse_from: Sequence[Path]
) -> tuple[LoadedModel, TrainingRecord]:
    """Train the learner, or load the first equal one of `reuse_from`.

    Returns:
        The trained model under the settings it is tested with, and what training took.
    """
    record = next((found for folder in reuse_from if (found := _reuse(loaded, job, folder))), None)
    if record is None:
        record = _train_from_recipe(loaded, job)
    chosen = record.selection.chosen if record.selection else {}
    return loaded._replace(model=loaded.model.with_config(**chosen)), record


def _reuse(loaded: LoadedModel, job: ResolvedRun, folder: Path) -> TrainingRecord | None:
    """Load the adapter of a folder; None if it was trained in another way, or is not finished.

    None as well, with a warning, where its files are damaged: it is trained again then.
    """
    try:
        found = finished_run(folder)
        if found is None:
            return None
        run, digest = found
        ours = training_key(with_absolute_paths(job.run, Path.cwd()))
        if training_key(run) != ours or digest not in job.digests:
            return None
        result = RunResult.read(folder / RESULTS)
        sha256 = read_adapter(folder / ADAPTER).tensors_sha256
        load_learner(loaded.model, load_file(folder / ADAPTER), folder / ADAPTER, sha256)
    except (ValueError, OSError, SafetensorError) as error:
        logger.warning("the training of %s is not reused: %s", folder, error)
        return None
    is_own = folder == job.folder
    return TrainingRecord(
        trainable_parameters=result.trainable_parameters,
        train_seconds=result.train_seconds,
        train_ms_per_image=result.train_ms_per_image,
        skipped_steps=result.skipped_steps,
        trained_in=result.trained_in if is_own else os.path.relpath(folder, job.folder),
        selection=result.selection,
    )


def _train_from_recipe(loaded: LoadedModel, job: ResolvedRun) -> TrainingRecord:
    selection = select(loaded, job) if job.run.settings_source == "validation" else None
    chosen = dict(selection.chosen) if selection else {}
    chosen.pop("alpha", None)  # chosen for testing; training keeps the recipe's
    summary = _train(loaded._replace(model=loaded.model.with_config(**chosen)), job)
    return TrainingRecord(
        trainable_parameters=sum(p.numel() for p in loaded.model.learner.parameters()),
        train_seconds=round(summary.seconds, 3),
        train_ms_per_image=round(summary.ms_per_image, 3),
        skipped_steps=summary.skipped_steps,
        selection=selection,
    )


def _train(loaded: LoadedModel, job: ResolvedRun) -> TrainSummary:
    subset = job.subset
    if not stopped_run_names_version(job.folder):
        _warn_of_turned_images(job)
    tokens = loaded.class_prompts(subset.class_names, subset.template, subset.prompts)
    digest = training_digest(job.run, job.digests[0])
    with training(loaded, tokens, subset.train, job, digest) as trainer:
        if job.runtime.describe == "fully":
            logger.info("%s", whole_block(job))
        warn_of_look_alikes(subset.class_names, trainer.task.frozen_text_features)
        return trainer.fit()


def _warn_of_turned_images(job: ResolvedRun) -> None:
    """Warn where a stopped run may have seen images as they lie in their files so far."""
    paths = (e.image for e in job.subset.train if e.upright)
    turned = [path for path in paths if isinstance(path, Path) and is_turned(path)]
    if turned:
        logger.warning(
            "An earlier version began the run in %s, perhaps one that did not apply the "
            "camera's orientation, which %d of its training images have (%s); from here on it is "
            "applied. Remove the folder to train on all of them upright.",
            job.folder, len(turned), listing(turned, 3),
        )  # fmt: skip
