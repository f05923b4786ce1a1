"""One run from names to results, in a folder of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..data.check_images import require_readable
from ..data.test_split import SPLIT_FILE
from ..hub.adapter_file import read_adapter, save_adapter
from ..hub.adapter_header import check_known
from ..hub.load import LoadedModel, build_for_training
from ..training.checkpoint import CHECKPOINT
from ..utils.environment import environment
from ..utils.files import json_bytes, write_atomically
from ..utils.folder_lock import lock_folder
from ..utils.stopwatch import Stopwatch
from .describe import data_line
from .kept_base import build_on_kept_base
from .measured import RunScores, TrainingRecord
from .peer_baseline import fit_peer
from .probe_baseline import fit_probe, score_probe, target_scorer
from .resolve import ResolvedRun, resolve
from .result_parts import AblationPoint, Environment, TargetResult
from .results import ADAPTER, RESULTS, RunResult
from .run_dir import finished_result, is_finished, prepare_run_dir
from .run_spec import FewShotRun, Runtime, dataset_name, training_digest
from .score import Calibrations, calibrate_run, score_run, score_target
from .train_adapter import train_adapter
from .transfer import has_new_targets, score_targets, sizes_of, target_images

logger = logging.getLogger(__name__)


def execute(
    run: FewShotRun,
    output: str | Path,
    runtime: Runtime | None = None,
    reuse_from: Sequence[Path] = (),
    watch: Stopwatch | None = None,
    tell: Callable[[ResolvedRun, LoadedModel, RunScores], None] | None = None,
) -> RunResult:
    """Train, test, write `results.json` and the adapter.

    The results of a finished run are read, not computed again; one that was stopped resumes from
    its last epoch.

    Args:
        run: what decides the numbers.
        output: the run's folder.
        runtime: where and how to carry it out.
        reuse_from: folders of runs that may have been trained in the same way; the adapter
            of the first that was is loaded instead of training again.
        watch: measures the stages "loading", "training" and "scoring".
        tell: called once all is written, unless the run was finished before.

    Raises:
        UsageError: the folder belongs to a run with other settings, another process works in it,
            or a name is not known.
        ValueError: the data or the files are not what they should be.
    """
    watch = watch or Stopwatch()
    with watch.stage("loading"):
        job = resolve(run, Path(output), runtime or Runtime())
    finished = _finished(job)  # before anything is written: the folder may be read-only
    if finished is not None:
        return finished
    with lock_folder(job.folder):
        finished = _finished(job)  # by another process since
        if finished is not None:
            return finished
        if prepare_run_dir(job.folder, run, job.digests):
            reuse_from = (job.folder, *reuse_from)
        done = _carry_out(job, reuse_from, watch)
        _write(job, done)
    result = done.result
    if run.trains_adapter and result.is_no_better_than_frozen:
        logger.warning(
            "%s is no better than frozen CLIP on the %s images of %s (%s): its learning rate (%s) "
            "may be too high, or its epochs (%s) or images too few.",
            result.method, run.test_split, run.data, result.compared, run.train.lr,
            run.train.epochs,
        )  # fmt: skip
    if tell is not None:
        tell(job, done.loaded, done.scores)
    return result


def _finished(job: ResolvedRun) -> RunResult | None:
    """Return the results of a run that is finished; None if there is something to do."""
    if not is_finished(job.folder, job.run, job.digests):
        return None
    result = finished_result(job.folder)
    if job.run.trains_adapter:
        read_adapter(job.folder / ADAPTER)  # or "nothing to do" would hide a damaged file
    if has_new_targets(result, job.run):
        return None
    _remove_checkpoint(job.folder)  # of a run that was stopped just before that
    logger.info("%s holds this very run, finished already: nothing to do.", job.folder)
    return result


def _remove_checkpoint(folder: Path) -> None:
    """Remove it if it is there and can be removed: nothing depends on that."""
    if (folder / CHECKPOINT).exists():
        with suppress(OSError):
            (folder / CHECKPOINT).unlink()


@dataclass(frozen=True)
class _Done:
    """A run that was carried out and is not written yet."""

    loaded: LoadedModel
    scores: RunScores
    result: RunResult
    calibrations: Calibrations | None


def _carry_out(job: ResolvedRun, reuse_from: Sequence[Path], watch: Stopwatch) -> _Done:
    run, probe, peer, calibrations = job.run, None, None, None
    with watch.stage("loading"):
        images = [*job.data.split(run.test_split), *target_images(job)]
        if run.method != "zeroshot":
            images += job.subset.train
        if job.held_back is not None:
            images += job.held_back.examples
        if job.runtime.describe == "briefly":
            logger.info("%s", data_line(job.data))
        require_readable(images, quiet=job.runtime.quiet)
        if run.trains_adapter:
            subset = job.subset
            check_known(
                job.folder / ADAPTER,
                class_names=list(subset.class_names),
                template=subset.template,
                settings=run.to_dict(),
            )
        build = build_on_kept_base if job.runtime.keep_base else build_for_training
        loaded = build(
            run.model,
            job.pretrained,
            method=run.variant,
            settings=run.settings,
            device=job.device,
            seed=run.train.seed,
        )
    with watch.stage("training"):
        training = TrainingRecord(trainable_parameters=0)
        if run.method == "linear_probe":
            probe, training = fit_probe(loaded, job)
        elif run.peer is not None:
            peer, training = fit_peer(loaded, job, run.peer)
        elif run.trains_adapter:
            loaded, training = train_adapter(loaded, job, reuse_from)
    with watch.stage("scoring"):
        if probe is None:
            calibrations = calibrate_run(loaded, job, peer)
            scores = score_run(loaded, job.data, run, job.runtime, calibrations, peer)
            score = partial(score_target, peer=peer)
        else:
            scores = score_probe(probe, loaded, job)
            score = target_scorer(probe, job.data.class_names)
        targets = score_targets(loaded, job, score)
    result = _result(job, loaded, training, scores, targets)
    return _Done(loaded, scores, result, calibrations)


def _result(
    job: ResolvedRun,
    loaded: LoadedModel,
    training: TrainingRecord,
    scores: RunScores,
    targets: Mapping[str, TargetResult],
) -> RunResult:
    run, config = job.run, loaded.model.config
    return RunResult(
        method=run.method or config.variant,
        model=loaded.name,
        pretrained=job.pretrained,
        data=run.data,
        dataset=dataset_name(run.data),
        sizes=sizes_of(job.data, run.data, run),
        protocol=run.protocol,
        ablation=AblationPoint(**run.ablation) if run.ablation else None,
        settings_source=run.settings_source,
        shots=run.shots,
        seed=run.train.seed,
        test_split=run.test_split,
        fusion=run.fusion,
        train_images=len(job.subset.train),
        selection=training.selection,
        regularization=training.regularization,
        trainable_parameters=training.trainable_parameters,
        train_seconds=training.train_seconds,
        train_ms_per_image=training.train_ms_per_image,
        skipped_steps=training.skipped_steps,
        trained_in=training.trained_in,
        metrics=scores.metrics,
        zero_shot=scores.zero_shot,
        generalized_rule=scores.generalized_rule,
        generalized=scores.generalized,
        generalized_zero_shot=scores.generalized_zero_shot,
        calibration=scores.calibration,
        calibration_zero_shot=scores.calibration_zero_shot,
        unknown=scores.unknown,
        unknown_zero_shot=scores.unknown_zero_shot,
        calibrated=scores.calibrated,
        calibrated_zero_shot=scores.calibrated_zero_shot,
        per_class=scores.per_class,
        alpha_curve=scores.alpha_curve,
        eval_images_per_second=scores.eval_images_per_second,
        targets=targets,
        config=config.to_dict() if run.trains_adapter else {},
        train=run.train.to_dict() if run.trains_adapter else {},
        environment=Environment.from_json(environment(job.device, run.train.precision)),
    )


def _write(job: ResolvedRun, done: _Done) -> None:
    result, calibrations = done.result, done.calibrations
    content = json_bytes(result.to_json())  # before anything is written
    settings, drawn = job.run.to_dict(), job.data.drawn
    if drawn is not None:
        write_atomically(job.folder / SPLIT_FILE, json_bytes(drawn.to_json()))
        settings["split"] = drawn.header()
    if job.run.trains_adapter:
        save_adapter(
            done.loaded.model,
            job.folder / ADAPTER,
            class_names=job.subset.class_names,
            template=job.subset.template,
            prompts=job.subset.prompts,
            settings=settings,
            scores={"metrics": result.metrics, "zero_shot": result.zero_shot},
            calibration=calibrations.ours if calibrations and not job.run.ablation else None,
            provenance={
                "run": training_digest(job.run, job.digests[0]),
                "train_images": job.digests[0],
                "seed": job.run.train.seed,
                "environment": result.environment.to_json(),
            },
        )
    write_atomically(job.folder / RESULTS, content)
    _remove_checkpoint(job.folder)
