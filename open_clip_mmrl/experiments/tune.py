"""Hyperparameter selection for one run on held-out shots alone ("validation" settings).

Only the run's own few-shot images are used: a quarter of each class's images is held out. Where
new classes will be tested, half of the *training* classes stand for them: the others are trained
on, and the harmonic mean is maximized, as in the protocol itself.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config import MMRLConfig
from ..data import Example, ImageData
from ..data.loading.device_augment import training_images
from ..data.sampling import a_quarter, base_novel_split
from ..evaluation.logits import Scoring
from ..hub.load import LoadedModel, draw_learner
from ..models.task import FrozenClasses
from ..training.trainer import Trainer
from ..utils.files import json_bytes, read_json, write_atomically
from ..utils.json_fields import Content, number, numbers, required_number, rows
from .resolve import ResolvedRun
from .result_parts import AlphaPoint, Candidate, Selection, known
from .run_dir import SELECTION
from .run_spec import FewShotRun
from .score import all_scores, base_novel_scores, score_split

logger = logging.getLogger(__name__)

LAMBDAS = (0.2, 0.5, 1.0, 3.0, 6.0)
BETAS = (0.3, 0.6, 0.9)


@dataclass(frozen=True)
class HeldOut:
    """A run's own images as a small data set.

    Attributes:
        data: its test split is what was held out.
        count: number of images of the classes trained on that were held out.
        base_to_novel: whether half of the classes stand for new ones.
    """

    data: ImageData
    count: int
    base_to_novel: bool

    @property
    def trained_on(self) -> ImageData:
        """The classes and images that candidates are trained on."""
        return self.data.select("base") if self.base_to_novel else self.data


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, with what decides among them; one entry of selection.json."""

    settings: Mapping[str, float]
    score: float
    alpha_curve: tuple[AlphaPoint, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        curve = [point.to_json() for point in self.alpha_curve]
        return {**vars(self), "settings": dict(self.settings), "alpha_curve": curve}

    @classmethod
    def from_json(cls, content: Content) -> Trial:
        """Read an entry."""
        curve = []
        for row in rows(content, "alpha_curve"):
            scores = {name: required_number(row, name) for name in row if name != "alpha"}
            curve.append(AlphaPoint(required_number(row, "alpha"), scores))
        settings = known(numbers(content, "settings"))
        if not {"reg_weight"} <= settings.keys() <= {"reg_weight", "beta"}:
            raise ValueError(f"'settings' is {settings!r}, not of reg_weight and beta")
        return cls(
            settings=settings,
            score=required_number(content, "score"),
            alpha_curve=tuple(curve),
            seconds=number(content, "seconds") or 0,
        )


def select(loaded: LoadedModel, job: ResolvedRun) -> Selection:
    """Choose lambda, then MMRL++'s beta with it, then alpha.

    Alpha is for testing, from the logits of the best candidate; all are trained with the recipe's.
    Of equals, the one nearest to the recipe is chosen. Candidates are written to selection.json as
    they are tried, so that a run that was stopped resumes after the last one.
    """
    record, usual = job.folder / SELECTION, loaded.model.config
    held_out = hold_out(job.subset, job.run)
    if not held_out.count:
        logger.warning("One image per class: nothing to hold out, so the fixed settings are kept.")
        return Selection()
    main = "base" if held_out.base_to_novel else "accuracy"
    trials, trained_on = _read(record, main), held_out.trained_on
    tokens = loaded.class_tokens(trained_on.class_names, trained_on.template)
    keep = job.run.train.text_cache
    classes = FrozenClasses.of(loaded.model, tokens, keep=keep)  # the same for all candidates

    def try_out(settings: Mapping[str, float]) -> None:
        if any(trial.settings == settings for trial in trials):
            return
        trials.append(try_settings(loaded, held_out, classes, job, settings))
        write_atomically(record, json_bytes([trial.to_json() for trial in trials]))
        shown = ", ".join(f"{name} {value}" for name, value in settings.items())
        logger.info("held-out images, %s: %.2f", shown, trials[-1].score)

    is_plus = usual.variant == "mmrl++"
    for value in LAMBDAS:
        try_out({"reg_weight": value, **({"beta": _value(usual, "beta")} if is_plus else {})})
    reg_weight = _best(trials, usual).settings["reg_weight"]
    for value in BETAS if is_plus else ():
        try_out({"reg_weight": reg_weight, "beta": value})
    best = _best(trials, usual)
    point = max(best.alpha_curve, key=lambda p: (p.scores[main], -abs(p.alpha - usual.alpha)))
    return Selection(
        chosen={**best.settings, "alpha": point.alpha},
        candidates=tuple(Candidate(trial.settings, trial.score) for trial in trials),
        held_out=held_out.count,
        seconds=round(sum(trial.seconds for trial in trials), 3),
    )


def _read(record: Path, main: str) -> list[Trial]:
    """Return the trials of a stopped run, whose alpha curves have to hold the metric `main`."""
    if not record.is_file():
        return []
    try:
        content = read_json(record)
        if not isinstance(content, list):
            raise ValueError(f"holds a {type(content).__name__}, not a list")
        trials = [Trial.from_json(entry) for entry in rows({"trials": content}, "trials")]
        if not all(t.alpha_curve and all(main in p.scores for p in t.alpha_curve) for t in trials):
            raise ValueError(f"an entry has no 'alpha_curve' of {main!r}")
    except ValueError as error:
        raise ValueError(f"{record} is damaged ({error}); remove it to choose again.") from error
    return trials


def _best(trials: Sequence[Trial], usual: MMRLConfig) -> Trial:
    """Return the best trial; among equal ones, the nearest to the usual settings."""

    def rank(trial: Trial) -> tuple[float, float]:
        return trial.score, -sum(abs(v - _value(usual, k)) for k, v in trial.settings.items())

    return max(trials, key=rank)


def _value(config: MMRLConfig, name: str) -> float:
    return float(getattr(config, name))


def hold_out(subset: ImageData, run: FewShotRun) -> HeldOut:
    """Hold out a quarter of each class's images."""
    by_class: dict[int, list[Example]] = {}
    for example in subset.train:
        by_class.setdefault(example.label, []).append(example)
    # Base and novel classes, two of each at least.
    base_to_novel = run.classes == "base" and subset.num_classes >= 4
    seen = set(base_novel_split(subset.num_classes)[0] if base_to_novel else by_class)
    train: list[Example] = []
    test: list[Example] = []
    held_out = 0
    for label in range(subset.num_classes):
        images = by_class.get(label, [])
        if label not in seen:  # stands for a new class: none of its images is trained on
            test += images
            continue
        count = a_quarter(len(images))
        train += images[: len(images) - count]
        test += images[len(images) - count :]
        held_out += count
    data = replace(subset, train=tuple(train), val=(), test=tuple(test), classes="all")
    return HeldOut(data, held_out, base_to_novel)


def try_settings(
    loaded: LoadedModel,
    held_out: HeldOut,
    classes: FrozenClasses,
    job: ResolvedRun,
    settings: Mapping[str, float],
) -> Trial:
    """Train a new learner on the same frozen weights, and score it on what is held out."""
    run, runtime = job.run, job.runtime
    model = loaded.model.sibling(loaded.model.config.replace(**settings))
    draw_learner(model, run.train.seed)
    candidate = loaded._replace(model=model)
    summary = Trainer(
        model,
        classes,
        training_images(model, held_out.trained_on.train, run.train, runtime.cache_gb),
        run.train,
        workers=runtime.workers,
        quiet=runtime.quiet,
        cuda_graph=runtime.cuda_graph,
    ).fit()
    logits, _ = score_split(candidate, held_out.data, "test", run.train.precision, runtime)
    seen = Scoring("fused", model.config.alpha, run.fusion)
    if held_out.base_to_novel:
        scores, main = base_novel_scores(logits, seen, replace(seen, features="class")), "hm"
    else:
        scores, main = all_scores(logits, seen), "accuracy"
    return Trial(settings, known(scores.metrics)[main], scores.alpha_curve, summary.seconds)
