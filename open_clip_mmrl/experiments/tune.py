"""Choosing lambda, beta and alpha for one run on held-out shots alone ("validation" settings).

Nothing but the run's own few-shot images is looked at: a quarter of each class's images is held
out. Where new classes will be tested, half of the *training* classes play their part: the others
are trained on, and what is maximised is the harmonic mean, as in the protocol itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Generator

from ..config import MMRLConfig
from ..data import ImageData
from ..data.loading.device_augment import training_images
from ..data.sampling import base_novel_split
from ..hub.load import LoadedModel
from ..training.trainer import Trainer
from ..utils.files import json_bytes, write_atomically
from ..utils.seeds import mix_seed
from .run_dir import SELECTION
from .run_spec import FewShotRun, Runtime
from .score import score_run

logger = logging.getLogger(__name__)

LAMBDAS = (0.2, 0.5, 1.0, 3.0, 6.0)
BETAS = (0.3, 0.6, 0.9)


def select(
    loaded: LoadedModel, subset: ImageData, run: FewShotRun, output: Path, runtime: Runtime
) -> dict[str, Any]:
    """Settings for this run: {"chosen", "candidates" with their scores, "held_out", "seconds"}.

    Candidates are kept in `output`/selection.json as they are tried, so that a run that is broken
    off goes on behind the last one. lambda is chosen first, then MMRL++'s beta with it, then alpha
    for testing from the best candidate's logits (all are trained with the recipe's alpha). Of
    equals, the one nearest to the recipe is taken.
    """
    record = output / SELECTION
    found = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else []
    trial, held_out = _hold_out(subset, run)
    if not held_out:
        logger.warning("One image per class: nothing to hold out, so the fixed settings are kept.")
        return {"chosen": {}, "candidates": [], "held_out": 0, "seconds": 0}
    usual = loaded.model.config
    with_beta = usual.variant == "mmrl++"

    def try_out(**settings: float) -> None:
        if any(candidate["settings"] == settings for candidate in found):
            return
        found.append({"settings": settings, **_score(loaded, trial, run, settings, runtime)})
        write_atomically(record, json_bytes(found))
        shown = ", ".join(f"{name} {value}" for name, value in settings.items())
        logger.info("held-out images, %s: %.2f", shown, found[-1]["score"])

    def best() -> dict[str, Any]:
        def rank(candidate):
            away = (abs(v - getattr(usual, k)) for k, v in candidate["settings"].items())
            return candidate["score"], -sum(away)

        return max(found, key=rank)

    for value in LAMBDAS:
        try_out(reg_weight=value, **({"beta": usual.beta} if with_beta else {}))
    reg_weight = best()["settings"]["reg_weight"]
    for value in BETAS if with_beta else ():
        try_out(reg_weight=reg_weight, beta=value)
    curve = best()["alpha_curve"]
    key = "base" if "base" in curve[0] else "accuracy"
    alpha = max(curve, key=lambda p: (p[key], -abs(p["alpha"] - usual.alpha)))["alpha"]
    return {
        "chosen": {**best()["settings"], "alpha": alpha},
        "candidates": [{**c["settings"], "score": c["score"]} for c in found],
        "held_out": held_out,
        "seconds": round(sum(candidate["seconds"] for candidate in found), 3),
    }


def _hold_out(subset: ImageData, run: FewShotRun) -> tuple[ImageData, int]:
    """The run's own images as a small data set, and how many of the classes trained on it tests."""
    by_class: dict[int, list] = {}
    for example in subset.train:
        by_class.setdefault(example.label, []).append(example)
    # Two halves of at least two classes; fewer cannot play at base and novel.
    halved = run.classes == "base" and subset.num_classes >= 4
    seen = set(base_novel_split(subset.num_classes)[0] if halved else by_class)
    train, test, held_out = [], [], 0
    for label in range(subset.num_classes):
        images = by_class.get(label, [])
        if label not in seen:  # plays at being new: none of it is trained on
            test += images
            continue
        count = max(1, len(images) // 4) if len(images) > 1 else 0
        train += images[: len(images) - count]
        test += images[len(images) - count :]
        held_out += count
    trial = replace(subset, train=tuple(train), val=(), test=tuple(test), classes="all")
    return trial, held_out


def _score(
    loaded: LoadedModel,
    trial: ImageData,
    run: FewShotRun,
    settings: Mapping[str, float],
    runtime: Runtime,
) -> dict[str, Any]:
    """Train a learner of its own on the same frozen weights, and test it on what is held out.

    {"score", "alpha_curve", "seconds"}; the score is what the protocol maximises.
    """
    halved = run.classes == "base" and trial.num_classes >= 4
    model = loaded.model.sibling(MMRLConfig(**{**loaded.model.config.to_dict(), **settings}))
    model.learner.reset_parameters(Generator().manual_seed(mix_seed(run.train.seed)))
    part = trial.select("base") if halved else trial
    summary = Trainer(
        model,
        loaded.class_tokens(part.class_names, part.template),
        training_images(model, part.train, run.train, runtime.cache_gb),
        run.train,
        workers=runtime.workers,
        quiet=runtime.quiet,
        cuda_graph=runtime.cuda_graph,
    ).fit()
    protocol = "base-to-novel" if halved else "few-shot"
    tested = run.replace(
        classes="base" if halved else "all", protocol=protocol, test_split="test", ablation=None
    )
    scores = score_run(loaded._replace(model=model), trial, tested, runtime)
    return {
        "score": scores["metrics"]["hm" if halved else "accuracy"],
        "alpha_curve": scores["alpha_curve"],
        "seconds": summary.seconds,
    }
