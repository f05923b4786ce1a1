"""Tests of a trained model on other data sets, without further training."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..data import Example, FolderOptions, ImageData, Trained, load_data
from ..data.coop.check import sizes
from ..data.more_prompts import MorePrompts
from ..hub.load import LoadedModel
from ..utils.files import json_bytes, read_json, write_atomically
from ..utils.json_fields import required
from .recipes import target_beta
from .resolve import ResolvedRun
from .result_parts import Sizes, TargetResult
from .results import RunResult
from .run_dir import TARGETS
from .run_spec import FewShotRun, Runtime, dataset_name

logger = logging.getLogger(__name__)

TargetScorer = Callable[[LoadedModel, ImageData, FewShotRun, Runtime], tuple[float | None, float]]
"""Returns the accuracy of the method and of frozen CLIP, in percent."""


def score_targets(
    loaded: LoadedModel, job: ResolvedRun, score: TargetScorer
) -> dict[str, TargetResult]:
    """Score every target, by its short name; one that cannot be read is noted as missing.

    Each is written to `targets/` as it is done, and read from there when the run resumes.
    """
    run, found = job.run, {}
    for spec in run.targets:
        name = dataset_name(spec)
        path = job.folder / TARGETS / f"{name}.json"
        if path.is_file():
            found[name] = _read(path)
            continue
        try:
            data = _target(spec, run, quiet=job.runtime.quiet)
        except ValueError as error:
            logger.warning("%s is left out: %s", name, error)
            found[name] = TargetResult(missing=str(error))
            continue
        tested = _for_target(loaded, run, name)
        accuracy, zero_shot = score(tested, data, run, job.runtime)
        found[name] = TargetResult(
            accuracy=accuracy,
            zero_shot=zero_shot,
            beta=tested.model.config.beta,
            sizes=sizes_of(data, spec, run),
        )
        write_atomically(path, json_bytes(found[name].to_json()))
        logger.info("%s: %s", name, "other classes" if accuracy is None else f"{accuracy:.1f}")
    return found


def _target(spec: str, run: FewShotRun, *, quiet: bool = False) -> ImageData:
    """Return a target's data; of a folder without splits, all images are for testing."""
    whole = FolderOptions(trained=Trained())
    data = load_data(
        spec, data_root=run.data_root, template=run.template, quiet=quiet, folder=whole
    )
    return replace(data, prompts=MorePrompts.from_json(run.prompts))


def _read(path: Path) -> TargetResult:
    try:
        return TargetResult.from_json(required({"target": read_json(path)}, "target", dict))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to test again.") from error


def target_images(job: ResolvedRun) -> list[Example]:
    """Return the images that `score_targets` will score, of the targets that can be read."""
    run, found = job.run, []
    for spec in run.targets:
        if not (job.folder / TARGETS / f"{dataset_name(spec)}.json").is_file():
            with suppress(ValueError):  # logged when its turn comes
                data = _target(spec, run, quiet=job.runtime.quiet)
                found += data.split(run.test_split)
    return found


def _for_target(loaded: LoadedModel, run: FewShotRun, name: str) -> LoadedModel:
    """Return the model with the beta that the paper chose for this target, where it did."""
    beta = None
    if loaded.model.config.variant == "mmrl++":
        beta = target_beta(name, run.settings_source)
    return loaded if beta is None else loaded._replace(model=loaded.model.with_config(beta=beta))


def sizes_of(data: ImageData, spec: str, run: FewShotRun) -> Sizes:
    """Return the counts of a data set, and whether they are the paper's."""
    name = spec.removeprefix("coop:") if spec.startswith("coop:") else ""
    return Sizes.from_json(sizes(data, name, run.data_root))


def has_new_targets(result: RunResult, run: FewShotRun) -> bool:
    """Return whether a target that was missing when this run was finished is there now."""
    for spec in run.targets:
        there = result.targets.get(dataset_name(spec))
        if there is None or there.missing is not None:
            try:
                _target(spec, run)
                return True
            except ValueError:
                continue
    return False
