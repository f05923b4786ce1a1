"""The choice for one run: a grid of settings to train with, then alpha for testing.

The grid is trained fold by fold, the worse half left out in between. Alpha is chosen from the same
logits, which it only mixes. Beta belongs to the grid: with another beta than in training, learners
score worse, whatever is best to train with (on digits, trained with 0.9 and tested with 1: harmonic
mean 4 points lower; trained with 1: 2 points higher).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from ...config import MMRLConfig
from ...hub.load import LoadedModel
from ...training.checkpoint import CHECKPOINT
from ..resolve import ResolvedRun
from ..result_parts import Candidate, Selection
from ..run_dir import SELECTION
from .folds import Fold, folds
from .rule import Option, choose, standard_error
from .search import fold_logits, words
from .trials import Settings, Trial, count_hits, read_trials, write_trials

logger = logging.getLogger(__name__)

GRIDS: Mapping[str, tuple[Settings, ...]] = {
    "mmrl": tuple({"reg_weight": value} for value in (0.2, 0.5, 2.0, 6.0)),
    "mmrl++": (
        {"reg_weight": 0.5, "beta": 0.9},
        *({"reg_weight": 3.0, "beta": beta} for beta in (0.9, 1.0, 0.5)),
    ),
}
"""What is trained by each variant, the usual settings among them; what is not named stays usual.
With four, the search takes less than four trainings of the run itself."""
ALPHAS = tuple(step / 10 for step in range(11))


def select(loaded: LoadedModel, job: ResolvedRun) -> Selection:
    """Choose settings for a run on its own training images.

    What was tried is written to selection.json after each fold, so that a run that was stopped
    resumes after the last one.
    """
    record, config = job.folder / SELECTION, loaded.model.config
    divided = folds(job.subset, job.run)
    if not divided:
        logger.warning("One image per class: nothing to hold out, so the fixed settings are kept.")
        return Selection()
    began = (job.folder / CHECKPOINT).is_file()
    trials = read_trials(record, job.subset.num_classes, training_began=began)
    usual = usual_settings(config)
    left = distinct([usual, *({**usual, **settings} for settings in GRIDS[config.variant])])
    for number, fold in enumerate(divided):
        missing = [s for s in left if not any(t.is_of(number, s) for t in trials)]
        if missing:
            trials += _try(loaded, job, number, fold, missing)
            write_trials(record, trials)
        left = [s for s in left if any(t.is_of(number, s) for t in trials)]
        so_far = [trial for trial in trials if trial.fold <= number]
        options = [Option.of(so_far, settings, config.alpha) for settings in left]
        scores = "; ".join(f"{words(o.settings)}: {o.score:.2f}" for o in options)
        logger.info("held-out images, %d of %d folds: %s", number + 1, len(divided), scores)
        left = better_half(options, usual)
    if not left:
        logger.warning("All trainings on held-out images diverged; the usual settings are kept.")
        return Selection()
    return selection(trials, left, config)


def usual_settings(config: MMRLConfig) -> dict[str, float]:
    """Return the values that a config has of what is chosen, alpha aside."""
    names = dict.fromkeys(name for settings in GRIDS[config.variant] for name in settings)
    return {name: float(getattr(config, name)) for name in names}


def distinct(grid: Sequence[Settings]) -> list[Settings]:
    """Return settings in their order, each once."""
    return [settings for n, settings in enumerate(grid) if settings not in grid[:n]]


def _try(
    loaded: LoadedModel, job: ResolvedRun, number: int, fold: Fold, grid: Sequence[Settings]
) -> list[Trial]:
    """Train and score on one fold."""
    start, alphas = time.perf_counter(), sorted({*ALPHAS, loaded.model.config.alpha})
    found = [
        (settings, count_hits(logits, fold, alphas, job.run.fusion))
        for settings, logits in fold_logits(loaded, job, fold, grid)
    ]
    seconds = round((time.perf_counter() - start) / max(len(found), 1), 3)
    return [Trial(number, settings, seconds, *counts) for settings, counts in found]


def better_half(options: Sequence[Option], usual: Settings) -> list[Settings]:
    """Return the usual settings and the best others: half of all, two at least."""
    ranked = sorted(options, key=lambda one: (one.settings != usual, -one.score))
    return [option.settings for option in ranked[: _half(len(ranked))]]


def _half(count: int) -> int:
    return max(2, (count + 1) // 2)


def settings_per_fold(variant: str, folds: int) -> list[int]:
    """Return how many settings are trained in each of so many folds."""
    counts = [len(GRIDS[variant])]
    while len(counts) < folds:
        counts.append(_half(counts[-1]))
    return counts


def selection(trials: Sequence[Trial], left: Sequence[Settings], config: MMRLConfig) -> Selection:
    """Choose what to train with, at the usual alpha, and then alpha."""
    usual, alpha = usual_settings(config), config.alpha
    target = {**usual, "alpha": alpha}
    best = choose([Option.of(trials, settings, alpha) for settings in left], target)
    best = choose([Option.of(trials, best.settings, a) for a in trials[0].hits], target)
    usual_trials = [trial for trial in trials if trial.settings == usual]
    held_out = sum(trial.images[label] for trial in usual_trials for label in trial.trained)
    tried = distinct([trial.settings for trial in trials])
    return Selection(
        chosen={**best.settings, "alpha": best.alpha},
        candidates=tuple(_candidate(trials, settings, usual, alpha) for settings in tried),
        held_out=held_out,
        seconds=round(sum(trial.seconds for trial in trials), 3),
    )


def _candidate(
    trials: Sequence[Trial], settings: Settings, usual: Settings, alpha: float
) -> Candidate:
    """Return a score, and how sure its difference from the usual settings' in these folds is."""
    own = [trial for trial in trials if trial.settings == settings]
    in_folds = {trial.fold for trial in own}
    same = [t for t in trials if t.settings == usual and t.fold in in_folds]
    option, error = Option.of(own, settings, alpha), None
    if settings != usual and len(same) == len(own):
        error = round(standard_error(option, Option.of(same, usual, alpha)), 4)
    return Candidate(settings, round(option.score, 4), folds=len(own), standard_error=error)
