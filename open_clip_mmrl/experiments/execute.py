"""One run from names to numbers, in a folder of its own."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ..config import VARIANTS
from ..data import ImageData, load_data
from ..data.loading.device_augment import training_images
from ..hub.adapter_file import load_learner, save_adapter
from ..hub.class_tokens import look_alikes
from ..hub.load import LoadedModel, build_for_training, resolve_name, resolve_pretrained
from ..training.trainer import CHECKPOINT, Trainer
from ..utils.devices import pick_device
from ..utils.environment import environment
from ..utils.files import json_bytes, write_atomically
from ..utils.text import listing
from .probe_baseline import probe_results
from .run_dir import ADAPTER, RESULTS, TARGETS, digest, finished, prepare_run_dir
from .run_spec import FewShotRun, Runtime, dataset_name, training_key
from .score import score_run
from .transfer import late_targets, score_targets, sizes_of
from .tune import select

logger = logging.getLogger(__name__)

_TRAINED = ("trainable_parameters", "train_seconds", "train_ms_per_image", "skipped_steps")


def execute(
    run: FewShotRun,
    output: str | Path,
    runtime: Runtime | None = None,
    reuse_from: Sequence[Path] = (),
) -> dict[str, Any]:
    """Train, test, write `results.json` and the adapter; returns the results.

    A finished run is read, not repeated; a broken one goes on from its last epoch.

    Args:
        donors: folders of runs that may have been trained in the very same way; the adapter of
            the first that was is taken instead of training again.

    Raises:
        UsageError: the folder belongs to a run with other settings, or a name is not known.
        ValueError: the data or the files are not what they should be.
    """
    runtime = runtime or Runtime()
    device, output = pick_device(runtime.device), Path(output)
    method = run.method if run.method not in (None, *VARIANTS) else None
    name = resolve_name(run.model, None if method else run.method)
    resolve_pretrained(name, run.pretrained)
    data = load_data(run.data, data_root=run.data_root, template=run.template, quiet=runtime.quiet)
    subset = _draw(data, run)
    needed = (RESULTS,) if method else (RESULTS, ADAPTER)
    if prepare_run_dir(output, run, digest(subset), needed):
        results = json.loads((output / RESULTS).read_text(encoding="utf-8"))
        if not late_targets(results, run):
            (output / CHECKPOINT).unlink(missing_ok=True)  # stopped just before that
            logger.info("%s holds this very run, finished already: nothing to do.", output)
            return results
        reuse_from = (output, *reuse_from)
    loaded = build_for_training(
        run.model,
        run.pretrained,
        method=None if method else run.method,
        settings=run.settings,
        device=device,
        seed=run.train.seed,
    )
    results = _what(run, loaded, data, subset)
    if method == "linear_probe":
        results |= probe_results(loaded, data, subset, run, output, runtime)
    elif method == "zeroshot":
        results |= {**dict.fromkeys(_TRAINED), "trainable_parameters": 0}
        results |= score_run(loaded, data, run, runtime)
    else:
        results |= _trained(loaded, subset, run, output, runtime, reuse_from)
        results |= score_run(loaded, data, run, runtime)
        results |= {"config": loaded.model.config.to_dict(), "train": run.train.to_dict()}
    if run.targets and TARGETS not in results:
        results[TARGETS] = score_targets(loaded, run, output, runtime)
    results["environment"] = environment(device, run.train.precision)
    if method is None:
        save_adapter(
            loaded.model,
            output / ADAPTER,
            class_names=subset.class_names,
            template=subset.template,
            settings=run.to_dict(),
            scores={key: results[key] for key in ("metrics", "zero_shot")},
        )
    write_atomically(output / RESULTS, json_bytes(results))
    (output / CHECKPOINT).unlink(missing_ok=True)
    return results


def _what(
    run: FewShotRun, loaded: LoadedModel, data: ImageData, subset: ImageData
) -> dict[str, Any]:
    """What was run, on what: the first part of results.json."""
    return {
        "method": run.method or loaded.model.config.variant,
        "model": loaded.name,
        "pretrained": run.pretrained or loaded.model.base_origin["pretrained"],
        "data": run.data,
        "dataset": dataset_name(run.data),
        "sizes": sizes_of(data, run.data, run),
        "protocol": run.protocol,
        **({"ablation": dict(run.ablation)} if run.ablation else {}),
        "settings_source": run.settings_source,
        "shots": run.shots,
        "seed": run.train.seed,
        "test_split": run.test_split,
        "fusion": run.fusion,
        "train_images": len(subset.train),
    }


def _draw(data: ImageData, run: FewShotRun) -> ImageData:
    """The images and classes that are trained on."""
    if run.method == "zeroshot" and not data.train:
        return data.select(run.classes)
    short = data.shortfall(run.shots)
    if short and run.method != "zeroshot":
        names = listing((f"{name} ({count})" for name, count in short.items()), limit=5)
        logger.warning(
            "%d of %d classes have fewer than %d training images, which are all used: %s.",
            len(short), data.num_classes, run.shots, names,
        )  # fmt: skip
    return data.few_shot(run.shots, run.train.seed).select(run.classes)


def _trained(
    loaded: LoadedModel,
    subset: ImageData,
    run: FewShotRun,
    output: Path,
    runtime: Runtime,
    reuse_from: Sequence[Path],
) -> dict[str, Any]:
    """Train `built`, or take over what a donor was trained to; what it took, for the record."""
    for donor in reuse_from:
        if not _same_training(donor, run, subset):
            continue
        load_learner(loaded.model, load_file(donor / ADAPTER), donor / ADAPTER)
        told = json.loads((donor / RESULTS).read_text(encoding="utf-8"))
        _take_over(loaded, told.get("selection"))
        kept = {key: told[key] for key in (*_TRAINED, "selection") if key in told}
        return kept if donor == output else {**kept, "trained_in": os.path.relpath(donor, output)}
    chosen = {}
    if run.settings_source == "validation":
        chosen = {"selection": select(loaded, subset, run, output, runtime)}
        loaded.model.config = replace(loaded.model.config, **_in_training(chosen["selection"]))
    summary = _train(loaded, subset, run, output, runtime)
    _take_over(loaded, chosen.get("selection"))
    return {
        **chosen,
        "trainable_parameters": sum(p.numel() for p in loaded.model.learner.parameters()),
        "train_seconds": round(summary.seconds, 3),
        "train_ms_per_image": round(summary.ms_per_image, 3),
        "skipped_steps": summary.skipped_steps,
    }


def _same_training(donor: Path, run: FewShotRun, subset: ImageData) -> bool:
    """Whether what was trained in a folder is what this run would be trained to."""
    found = finished(donor)
    if found is None:
        return False
    theirs, images = found
    return training_key(theirs) == training_key(run) and images == digest(subset)


def _in_training(selection: dict[str, Any]) -> dict[str, float]:
    """Alpha is chosen for testing; training keeps the recipe's."""
    return {name: value for name, value in selection["chosen"].items() if name != "alpha"}


def _take_over(loaded: LoadedModel, selection: dict[str, Any] | None) -> None:
    """What was chosen on held-out images, for the model that is tested."""
    if selection:
        loaded.model.config = replace(loaded.model.config, **selection["chosen"])


def _train(loaded: LoadedModel, subset: ImageData, run: FewShotRun, output: Path, runtime: Runtime):
    tokens = loaded.class_tokens(subset.class_names, subset.template)
    images = training_images(loaded.model, subset.train, run.train, runtime.cache_gb)
    trainer = Trainer(
        loaded.model,
        tokens,
        images,
        run.train,
        folder=output,
        workers=runtime.workers,
        quiet=runtime.quiet,
        cuda_graph=runtime.cuda_graph,
    )
    for pair in look_alikes(subset.class_names, trainer.task.frozen_text_features)[:3]:
        logger.warning(
            "%r and %r read the same to this text tower, which cannot tell them apart; other "
            "class names or another model may help.",
            *pair,
        )
    return trainer.fit()
