"""What held-back images tell of how sure to be, and how well that holds on others.

They are of the classes of the training, but not trained on. What they leave is a small
`Calibration`, which the adapter file carries: the temperature that makes the probabilities honest
(by scikit-learn's temperature scaling), what `conformal` makes sets of classes from, and the
maximum softmax of cosines at temperature 1, by which an image may be rejected (Ming et al., Delving
into Out-of-Distribution Detection with Vision-Language Representations, 2022: MCM).

Shapes: N images, C classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from ..config import FUSIONS
from ..errors import UsageError
from ..hub.adapter_header import HeldBack
from ..hub.adapter_info import Calibration
from .certainty import max_softmax
from .conformal import AsGiven, conformal_classifier, has_mapie, images_needed, set_predictor
from .logits import Logits, Scoring
from .metrics import calibration_error

_LOWEST = -1e3
"""In place of minus infinity, the logarithm of a probability that underflows."""


def require_calibration_packages() -> None:
    """Check, before anything is trained, that what `calibrate` and `set_predictor` need is there.

    Raises:
        UsageError: scikit-learn is too old, or MAPIE is not installed.
    """
    _require_temperature_scaling()
    conformal_classifier()


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
        AsGiven(classes), method=method, cv=[(every, every)], ensemble=False
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


def confidence(
    calibration: Calibration, logits: Logits, scoring: Scoring, coverage: float
) -> dict[str, float | None]:
    """Return how honest the answers are on test images of the classes trained on.

    Returns:
        "temperature"; "ece", the calibration error with it, in percent; "coverage", the share of
        sets with the true class, in percent; "set_size", the mean number of classes in a set. The
        last two are None where too few images were held back, or MAPIE is not installed.
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
    if len(true) >= images_needed(coverage) and has_mapie():
        sets = set_predictor(true, scores.shape[1], coverage)(scores.softmax(dim=1))
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
