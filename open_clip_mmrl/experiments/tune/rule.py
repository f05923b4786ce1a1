"""The rule that chooses: stay near the usual settings unless others are better beyond chance.

Among all that are not worse than the best by more than one standard error, the nearest to the
usual settings is taken (the one-standard-error rule, with the usual settings in the place of the
simplest model). Few-shot folds are small: the setting with the highest score is mostly luck.

Shapes: C classes of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...evaluation.metrics import harmonic_mean
from .trials import Settings, Trial


@dataclass(frozen=True)
class Option:
    """Settings with what they got right in all their folds.

    Attributes:
        settings: without alpha.
        alpha: of the mix.
        score: in percent: the harmonic mean of the accuracies on classes trained on and on new
            ones, over the images of all folds; one accuracy where no classes stood for new ones.
        influence: by class, how far its images move the score, [C]; their sum is 0.
    """

    settings: Settings
    alpha: float
    score: float
    influence: Tensor

    @classmethod
    def of(cls, trials: Iterable[Trial], settings: Settings, alpha: float) -> Option:
        """Pool the trials of these settings among others."""
        trials = [trial for trial in trials if trial.settings == settings]
        hits, images = (torch.zeros(2, len(trials[0].images), dtype=torch.double) for _ in range(2))
        for trial in trials:
            is_new = torch.ones(len(trial.images), dtype=torch.long)
            is_new[list(trial.trained)] = 0
            place = (is_new, torch.arange(len(is_new)))
            hits[place] += torch.tensor(trial.hits[alpha], dtype=torch.double)
            images[place] += torch.tensor(trial.images, dtype=torch.double)
        counts = images.sum(1)
        rates = hits.sum(1) / counts.clamp(min=1)
        seen, new = rates.tolist()
        if counts[1] == 0:
            score, slopes = seen, torch.tensor([1.0, 0.0], dtype=torch.double)
        else:
            score = harmonic_mean(seen, new)
            slopes = 2 * rates.flip(0) ** 2 / max(seen + new, 1e-9) ** 2
        residuals = (hits - rates[:, None] * images) / counts.clamp(min=1)[:, None]  # [2, C]
        influence = (slopes[:, None] * residuals).sum(0)
        return cls(settings, alpha, 100 * score, 100 * influence)


def standard_error(one: Option, other: Option) -> float:
    """Return that of the difference of two scores on the same images, over classes.

    Images of a class are no independent draws: a class that reads well as a new one does so with
    all of its images. So the classes are the sample, and each counts with the difference of its
    influences.
    """
    difference, count = one.influence - other.influence, len(one.influence)
    return float((difference.square().sum() * count / (count - 1)).sqrt())


def choose(options: Sequence[Option], usual: Settings) -> Option:
    """Return the option nearest to the usual settings, alpha included, that is as good as the best.

    Distances are relative to the size of the values.
    """

    def distance(option: Option) -> float:
        pairs = [(v, usual[name]) for name, v in {**option.settings, "alpha": option.alpha}.items()]
        return sum(abs(a - b) / (a + b) for a, b in pairs if a != b)

    best = max(options, key=lambda one: (one.score, -distance(one)))
    near = [o for o in options if best.score - o.score <= standard_error(best, o) + 1e-9]
    return min(near, key=lambda one: (distance(one), -one.score))
