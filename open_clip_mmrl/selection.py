"""Choosing lambda, beta and alpha for one run on held-out shots alone ("validation" settings).

Nothing but the run's own few-shot images is looked at: a quarter of each class's images is held
out. Where new classes will be tested, half of the *training* classes play their part: the others
are trained on, and what is maximised is the harmonic mean, as in the protocol itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Generator

from .building import Built
from .config import MMRLConfig
from .data import ImageData
from .files import json_bytes, write_atomically
from .images import ImageSet, mix_seed, train_transform
from .prompting import class_tokens
from .runs import FewShotRun, Runtime
from .sampling import base_novel_split
from .testing import score_run
from .trainer import Trainer

LAMBDAS = (0.2, 0.5, 1.0, 3.0, 6.0)
BETAS = (0.3, 0.6, 0.9)
RECORD = "selection.json"


def select(
    built: Built, subset: ImageData, run: FewShotRun, output: Path, runtime: Runtime
) -> dict[str, Any]:
    """Settings for this run, and how every candidate did: {"chosen", "candidates", "held_out"}.

    Kept in `output`/selection.json, so that a run that is broken off does not choose again.
    lambda is chosen first, then MMRL++'s beta with it, then alpha for testing from the best
    candidate's logits (all of them are trained with the recipe's alpha).
    """
    record = output / RECORD
    if record.is_file():
        return json.loads(record.read_text(encoding="utf-8"))
    trial, held_out = _hold_out(subset, run)
    if not held_out:
        runtime.say("One image per class: nothing to hold out, so the fixed settings are kept.")
        return {"chosen": {}, "candidates": [], "held_out": 0}
    found: list[dict[str, Any]] = []

    def try_out(settings: Mapping[str, float]) -> None:
        scores = _score(built, trial, run, settings, runtime)
        figure = scores["metrics"].get("hm", scores["metrics"].get("accuracy"))
        found.append({**settings, "score": figure, "alpha_curve": scores["alpha_curve"]})
        shown = ", ".join(f"{name} {value}" for name, value in settings.items())
        runtime.say(f"held-out images, {shown}: {figure:.2f}")

    for value in LAMBDAS:
        try_out({"reg_weight": value})
    best = _best(found)
    if built.model.config.variant == "mmrl++":
        for value in BETAS:
            try_out({"reg_weight": best["reg_weight"], "beta": value})
        best = _best(found)
    key = "base" if "base" in best["alpha_curve"][0] else "accuracy"
    usual = built.model.config.alpha
    alpha = max(best["alpha_curve"], key=lambda p: (p[key], -abs(p["alpha"] - usual)))["alpha"]
    names = [name for name in ("reg_weight", "beta") if name in best]
    result = {
        "chosen": {**{name: best[name] for name in names}, "alpha": alpha},
        "candidates": [{k: v for k, v in c.items() if k != "alpha_curve"} for c in found],
        "held_out": held_out,
    }
    write_atomically(record, json_bytes(result))
    return result


def _best(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The first of the best."""
    return max(found, key=lambda candidate: candidate["score"])


def _hold_out(subset: ImageData, run: FewShotRun) -> tuple[ImageData, int]:
    """The run's own images as a small data set of its own, and how many of them are tested on."""
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
    built: Built, trial: ImageData, run: FewShotRun, settings: Mapping[str, float], runtime: Runtime
) -> dict[str, Any]:
    """Train a learner of its own on the same frozen weights, and test it on what is held out."""
    halved = run.classes == "base" and trial.num_classes >= 4
    model = built.model.sibling(MMRLConfig(**{**built.model.config.to_dict(), **settings}))
    model.learner.reset_parameters(Generator().manual_seed(mix_seed(run.train.seed)))
    part = trial.select("base") if halved else trial
    Trainer(
        model,
        class_tokens(model, built.tokenizer, part.class_names, part.template),
        ImageSet(part.train, train_transform(model, run.train.flip), seed=run.train.seed),
        run.train,
        workers=runtime.workers,
        quiet=runtime.quiet,
    ).fit()
    protocol = "base-to-novel" if halved else "few-shot"
    tested = run.like(
        classes="base" if halved else "all", protocol=protocol, test_split="test", ablation=None
    )
    return score_run(built._replace(model=model), trial, tested, runtime)
