"""How sure to be of a class: temperature, sets of classes, and "none of these".

All three come from held-back images: of the same classes as the training, but not trained on. What
they leave is a small `Calibration`, which the adapter file carries.

* The temperature that makes the probabilities honest, by scikit-learn's temperature scaling.
* Sets of classes that hold the true one as often as wanted, by MAPIE (split conformal prediction,
  LAC: Sadinle et al., Least Ambiguous Set-Valued Classifiers, 2019). They take probabilities at
  temperature 1. A temperature from the same held-back images would void their guarantee, and it
  makes sets by APS and RAPS larger (Dabah and Tirer, On Temperature Scaling and Conformal
  Prediction of Deep Classifiers, 2024).
* Rejection by the maximum softmax of cosines at temperature 1 (Ming et al., Delving into
  Out-of-Distribution Detection with Vision-Language Representations, 2022: MCM).

Shapes: N images, n of them held back, C classes.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from ..config import FUSIONS
from ..errors import UsageError
from ..hub.adapter_info import Calibration, HeldBack
from .logits import Logits, Scoring
from .metrics import calibration_error

_AT_A_TIME = 4096
_LOWEST = -1e3
"""In place of minus infinity, the logarithm of a probability that underflows."""


class _AsGiven(ClassifierMixin, BaseEstimator):
    """A classifier whose images are their own scores or probabilities [N, C]."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def fit(self, *_: Any, sample_weight: Any = None) -> _AsGiven:
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


def require_calibration_packages() -> None:
    """Check, before anything is trained, that what `calibrate` and `prediction_sets` need is there.

    Raises:
        UsageError: scikit-learn is too old, or MAPIE is not installed.
    """
    _require_temperature_scaling()
    _conformal_classifier()


def calibrate(logits: Logits, scoring: Scoring, scale: float, held_back: HeldBack) -> Calibration:
    """Return what held-back images tell.

    Args:
        logits: of the held-back images, against the classes of the training.
        scoring: of these classes; for every fusion, whichever it has.
        scale: of the logits, by which they are cosines again.
        held_back: what these images are.
    """
    labels = logits.labels
    scores = {f: logits.scores(replace(scoring, fusion=f)).double() for f in FUSIONS}
    return Calibration(
        held_back=held_back,
        temperature={name: fit_temperature(found, labels) for name, found in scores.items()},
        true_probability={
            name: found.softmax(1)[torch.arange(len(labels)), labels].tolist()
            for name, found in scores.items()
        },
        max_softmax=max_softmax(scores["logits"], scale).sort().values.tolist(),
    )


def fit_temperature(scores: Tensor, labels: Tensor) -> float:
    """Return the temperature of softmax(scores / temperature) with the smallest log loss."""
    _require_temperature_scaling()
    images, classes = scores.shape
    # scikit-learn takes the classes from the labels: rows of no weight stand for missing ones.
    missing = np.setdiff1d(np.arange(classes), labels)
    finite = scores.double().nan_to_num(neginf=_LOWEST).numpy()
    rows = np.concatenate([finite, np.zeros((len(missing), classes))])
    method: Any = "temperature"  # which its types of before 1.8 do not know
    every = np.arange(len(rows))
    fitted = CalibratedClassifierCV(
        _AsGiven(classes), method=method, cv=[(every, every)], ensemble=False
    ).fit(
        rows,
        np.concatenate([labels.numpy(), missing]),
        sample_weight=np.repeat([1.0, 0.0], [images, len(missing)]),
    )
    return float(1 / fitted.calibrated_classifiers_[0].calibrators[0].beta_)


def _require_temperature_scaling() -> None:
    if tuple(int(number) for number in sklearn.__version__.split(".")[:2]) < (1, 8):
        raise UsageError(
            "temperature scaling needs scikit-learn 1.8 or newer; this is "
            f"{sklearn.__version__}. Install a newer one (it needs Python 3.11), or leave out "
            "--calibrate."
        )


def prediction_sets(
    true_probability: list[float], probabilities: Tensor, coverage: float
) -> Tensor:
    """Return which classes belong to each image's set, bool [N, C], by MAPIE.

    A set may be empty: the image then is less like any class than nearly all held-back images
    are like theirs.

    Args:
        true_probability: of the true class, of every held-back image.
        probabilities: [N, C], at temperature 1, as those of the held-back images were.
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
    classes = probabilities.shape[1]
    # LAC looks at the true class's probability alone, so the rest may be anyhow divided.
    true = np.asarray(true_probability)
    held_back = np.repeat(((1 - true) / (classes - 1))[:, None], classes, axis=1)
    held_back[:, 0] = true
    mapie = _conformal_classifier()(
        _AsGiven(classes).fit(), confidence_level=coverage, conformity_score="lac", prefit=True
    )
    with warnings.catch_warnings():
        # Every held-back image stands in the first column here.
        warnings.filterwarnings("ignore", ".*conformalization dataset has less labels")
        mapie.conformalize(held_back, np.zeros(len(true), dtype=int))
    parts = probabilities.double().split(_AT_A_TIME)  # MAPIE makes several copies
    return torch.cat([torch.from_numpy(mapie.predict_set(p.numpy())[1][:, :, 0]) for p in parts])


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
        raise UsageError(f"a share has to lie between 0 and 1; it is {share:g}.")


def _ceil(value: float) -> int:
    return math.ceil(round(value, 6))  # 1 / (1 - 0.9) is 10.000000000000002


def _conformal_classifier() -> Any:
    try:
        return import_module("mapie.classification").SplitConformalClassifier
    except ImportError as error:
        raise UsageError(
            "sets of classes are computed by MAPIE, which is not installed (version 1 or newer): "
            "pip install 'open_clip_mmrl[conformal]'."
        ) from error


def max_softmax(scores: Tensor, scale: float) -> Tensor:
    """Return the maximum softmax of cosines at temperature 1, [N]: low where no class fits.

    Args:
        scores: logits [N, C], of one feature or mixed; no probabilities.
        scale: of the logits, by which they are cosines again.
    """
    return (scores.double() / scale).softmax(dim=1).max(dim=1).values


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


def confidence(
    calibration: Calibration, logits: Logits, scoring: Scoring, coverage: float
) -> dict[str, float | None]:
    """Return how honest the answers are on test images of the classes trained on.

    Returns:
        "temperature"; "ece", the calibration error with it, in percent; "coverage", the share of
        sets with the true class, in percent; "set_size", the mean number of classes in a set. The
        last two are None where too few images were held back.
    """
    scores, labels = logits.scores(scoring).double(), logits.labels
    temperature = calibration.temperature[scoring.fusion]
    found: dict[str, float | None] = {
        "temperature": temperature,
        "ece": calibration_error((scores / temperature).softmax(dim=1), labels),
        "coverage": None,
        "set_size": None,
    }
    true = calibration.true_probability[scoring.fusion]
    if len(true) >= images_needed(coverage):
        sets = prediction_sets(true, scores.softmax(dim=1), coverage)
        held = sets[torch.arange(len(labels)), labels]
        found["coverage"] = 100 * held.double().mean().item()
        found["set_size"] = sets.sum(dim=1).double().mean().item()
    return found


def unknown_classes(
    logits: Logits, num_known: int, scoring: Scoring, scale: float
) -> dict[str, float]:
    """Return how well `max_softmax` tells images of known classes from those of others.

    Args:
        logits: of images of all classes, of which the first `num_known` are known.
        num_known: number of classes trained on.
        scoring: of the known classes; logits are mixed, whatever its fusion.
        scale: of the logits.

    Returns:
        "auroc", and "fpr95", the share of images of unknown classes that pass where 95 % of the
        known ones do; both in percent.
    """
    scores = logits.scores(replace(scoring, fusion="logits"))[:, :num_known]
    certainty = max_softmax(scores, scale).numpy()
    known = (logits.labels < num_known).numpy()
    passed, hits, _ = roc_curve(known, certainty, drop_intermediate=False)
    return {
        "auroc": 100 * float(roc_auc_score(known, certainty)),
        "fpr95": 100 * float(passed[np.argmax(hits >= 0.95)]),
    }
