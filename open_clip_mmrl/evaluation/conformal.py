"""Sets of classes, by MAPIE, and "none of these", from the calibration in an adapter file.

Sets are split conformal prediction with LAC (Sadinle et al., Least Ambiguous Set-Valued
Classifiers, 2019). They take probabilities at temperature 1: a temperature from the same held-back
images would void their guarantee, and it makes sets by APS and RAPS larger (Dabah and Tirer, On
Temperature Scaling and Conformal Prediction of Deep Classifiers, 2024).

Shapes: N images, C classes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor

from ..config import Fusion
from ..errors import UsageError
from ..hub.adapter_info import AdapterInfo
from .certainty import Certainty

_AT_A_TIME = 4096


class AsGiven(ClassifierMixin, BaseEstimator):
    """A classifier whose images are their own scores or probabilities [N, C]."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def fit(self, *_: Any, sample_weight: Any = None) -> AsGiven:
        """Learn nothing; return itself."""
        del sample_weight
        self.classes_ = np.arange(self.num_classes)
        self.n_features_in_ = self.num_classes
        return self

    def decision_function(self, scores: np.ndarray) -> np.ndarray:
        """Return scores; of two classes, the single one that scikit-learn makes (-x, x) of."""
        return (scores[:, 1] - scores[:, 0]) / 2 if self.num_classes == 2 else scores

    def predict_proba(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the probabilities."""
        return probabilities

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the most probable class."""
        return probabilities.argmax(axis=1)


def certainty(
    info: AdapterInfo,
    fusion: Fusion = "probabilities",
    *,
    coverage: float | None = None,
    reject_rate: float | None = None,
) -> Certainty:
    """Return how sure to be of an adapter's own classes, by the file alone.

    Args:
        info: the adapter's header.
        fusion: of the scores that are judged.
        coverage: share of sets that hold the true class; None for no sets.
        reject_rate: share of images of these classes that may be rejected; None for no rejection.

    Raises:
        UsageError: the adapter was trained without `--calibrate`, too few images were held back,
            or MAPIE is not installed.
    """
    calibration = info.calibration
    if calibration is None:
        if coverage is None and reject_rate is None:
            return Certainty()
        raise UsageError(
            f"{info.path} was trained without --calibrate, so nothing tells how sure to be: train "
            "again with it, then ask for sets or rejection."
        )
    true, sets = calibration.true_probability[fusion], None
    if coverage is not None:
        sets = set_predictor(true, len(info.class_names), coverage)
    rejected = None
    if reject_rate is not None:
        rejected = reject_threshold(calibration.max_softmax, reject_rate)
    return Certainty(calibration.temperature[fusion], sets, rejected)


def set_predictor(
    true_probability: list[float], num_classes: int, coverage: float
) -> Callable[[Tensor], Tensor]:
    """Return what turns probabilities [N, C] into sets of classes, bool [N, C], by MAPIE.

    A set may be empty: the image then is less like any class than nearly all held-back images
    are like theirs. Probabilities are at temperature 1, as those of the held-back images.

    Args:
        true_probability: of the true class, of every held-back image.
        num_classes: C.
        coverage: share of sets that hold the true class, between 0 and 1.

    Raises:
        UsageError: too few images were held back for this coverage, or MAPIE is not installed.
    """
    needed = images_needed(coverage)
    if len(true_probability) < needed:
        raise UsageError(
            f"{len(true_probability)} images were held back, but sets that hold the true class in "
            f"{100 * coverage:g} % of cases need {needed}: with fewer, a set would have to hold "
            "all classes. Train with more shots, or choose a lower coverage."
        )
    # LAC looks at the true class's probability alone, so the rest may be anyhow divided.
    true = np.asarray(true_probability)
    held_back = np.repeat(((1 - true) / (num_classes - 1))[:, None], num_classes, axis=1)
    held_back[:, 0] = true
    mapie = conformal_classifier()(
        AsGiven(num_classes).fit(), confidence_level=coverage, conformity_score="lac", prefit=True
    )
    with warnings.catch_warnings():
        # Every held-back image stands in the first column here.
        warnings.filterwarnings("ignore", ".*conformalization dataset has less labels")
        mapie.conformalize(held_back, np.zeros(len(true), dtype=int))

    def sets(probabilities: Tensor) -> Tensor:
        parts = probabilities.double().split(_AT_A_TIME)  # MAPIE makes several copies
        found = [mapie.predict_set(part.numpy())[1][:, :, 0] for part in parts]
        return torch.from_numpy(np.concatenate(found))

    return sets


def images_needed(coverage: float) -> int:
    """Return the number of held-back images that MAPIE asks for.

    With one less than 1 / (1 - coverage) - 1, a set would have to hold all classes.

    Raises:
        UsageError: the coverage is not between 0 and 1.
    """
    _require_share(coverage)
    return _ceil(max(1 / coverage, 1 / (1 - coverage)))


def _require_share(share: float) -> None:
    if not 0 < share < 1:
        raise UsageError(f"a share has to lie between 0 and 1 (90 % is 0.9); it is {share:g}.")


def _ceil(value: float) -> int:
    return math.ceil(round(value, 6))  # 1 / (1 - 0.9) is 10.000000000000002


def has_mapie() -> bool:
    """Return whether MAPIE is installed."""
    return find_spec("mapie") is not None


def conformal_classifier() -> Any:
    """Return MAPIE's class; a UsageError where it is not installed."""
    try:
        return import_module("mapie.classification").SplitConformalClassifier
    except ImportError as error:
        raise UsageError(
            "sets of classes are computed by MAPIE, which is not installed: "
            "pip install 'mapie>=1.3'."
        ) from error


def reject_threshold(max_softmax_held_back: list[float], rate: float) -> float:
    """Return the `max_softmax` up to which an image is rejected.

    At most this share of images of known classes is rejected by it, as far as they are like those
    held back: with n of these, the k-th smallest value with k = rate (n + 1), rounded down.

    Raises:
        UsageError: too few images were held back for this rate.
    """
    _require_share(rate)
    count, needed = len(max_softmax_held_back), _ceil(1 / rate - 1)
    if count < needed:
        raise UsageError(
            f"{count} images were held back, but a false-rejection rate of {100 * rate:g} % needs "
            f"{needed}. Train with more shots, or choose a higher rate."
        )
    return sorted(max_softmax_held_back)[int(round(rate * (count + 1), 6)) - 1]
