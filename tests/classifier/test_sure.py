"""How sure it is, by scikit-learn and MAPIE, as the class's docstring has it."""

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.packages import has_temperature
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss

NAMES = ("zero", "one", "two", "three", "four")
WANTED, HELD_BACK, TESTED = 0.9, 150, 250


@pytest.fixture(scope="module")
def model(make):
    """Trained on 4 images per class, with the digits that it has not seen, in two parts."""
    digits = load_digits(n_class=5)
    train = np.concatenate([np.flatnonzero(digits.target == c)[:4] for c in range(5)])
    rest = np.setdiff1d(np.arange(len(digits.target)), train)
    rest = np.random.default_rng(1).permutation(rest)[: HELD_BACK + TESTED]
    images, labels = digits.images / 16, digits.target
    parts = [
        SimpleNamespace(X=images[i], y=labels[i]) for i in (rest[:HELD_BACK], rest[HELD_BACK:])
    ]
    fitted = make(class_names=NAMES).fit(images[train], labels[train])
    return SimpleNamespace(fitted=fitted, held_back=parts[0], tested=parts[1])


@has_temperature
def test_a_temperature_from_held_back_images_keeps_answers_and_lowers_the_loss(model):
    from sklearn.frozen import FrozenEstimator

    tool = CalibratedClassifierCV(FrozenEstimator(model.fitted), method="temperature")
    tool.fit(model.held_back.X, model.held_back.y)
    before, after = (m.predict_proba(model.tested.X) for m in (model.fitted, tool))
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert log_loss(model.tested.y, after) < log_loss(model.tested.y, before)


@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
@pytest.mark.parametrize("by_name", [False, True])
def test_sets_hold_the_true_class_as_often_as_wanted(score, by_name, model, tmp_path):
    """With labels that are names too, whose order is not that of the file."""
    mapie = pytest.importorskip("mapie.classification")
    fitted, labels = model.fitted, np.arange(len(NAMES))
    if by_name:
        path = fitted.save(tmp_path / "a.safetensors")
        fitted, labels = fitted.from_adapter(path, device="cpu"), np.array(NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tool = mapie.SplitConformalClassifier(
            fitted, confidence_level=WANTED, conformity_score=score, prefit=True, random_state=1
        )
        tool.conformalize(model.held_back.X, labels[model.held_back.y])
        answers, sets = tool.predict_set(model.tested.X)
    right = np.searchsorted(fitted.classes_, labels[model.tested.y])
    covered = sets[np.arange(TESTED), right, 0].mean()
    # Held-back and tested images are both drawn; three standard deviations.
    error = math.sqrt(WANTED * (1 - WANTED) * (1 / HELD_BACK + 1 / TESTED))
    assert covered > WANTED - 3 * error
    assert 1 <= sets.sum(axis=1).mean() < 4.5
    assert np.mean(answers == labels[model.tested.y]) > 0.6
