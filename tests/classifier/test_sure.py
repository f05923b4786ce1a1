"""How sure it is, by scikit-learn and MAPIE, as the class's docstring has it."""

import copy
import math
import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.packages import has_temperature
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss

from open_clip_mmrl import save_adapter
from open_clip_mmrl.hub.adapter_info import Calibration
from open_clip_mmrl.hub.adapter_reading import read_adapter

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


def test_the_temperature_of_a_calibrated_adapter_is_applied_and_kept(fitted, few, tmp_path):
    """As `predict` answers; other classes than all of the training are not those it is of."""
    plain = fitted.from_adapter(fitted.save(tmp_path / "plain.safetensors"), device="cpu")
    info = read_adapter(tmp_path / "plain.safetensors")
    calibration = Calibration(
        held_back="shots",
        temperature={"logits": 2.0, "probabilities": 3.0},
        true_probability={"logits": [0.9, 0.8], "probabilities": [0.7, 0.6]},
        max_softmax=[0.4, 0.5],
        image_means=dict.fromkeys(("class", "frozen"), [0.1] * info.base.shape["embed_dim"]),
    )
    path = save_adapter(
        plain.model_,
        tmp_path / "calibrated.safetensors",
        class_names=info.class_names,
        template=info.template,
        calibration=calibration,
    )
    images = few.X_test[:8]
    loaded = type(fitted).load(path, device="cpu")
    again = type(fitted).load(loaded.save(tmp_path / "again.safetensors"), device="cpu")
    for fusion, temperature in calibration.temperature.items():
        expected = plain.predict_proba(images, fusion=fusion) ** (1 / temperature)
        expected /= expected.sum(axis=1, keepdims=True)
        for one in (loaded, again, pickle.loads(pickle.dumps(loaded))):
            np.testing.assert_allclose(one.predict_proba(images, fusion=fusion), expected)
    assert read_adapter(tmp_path / "again.safetensors").calibration == calibration
    for change, arguments in (("add_classes", ["nine"]), ("remove_classes", ["one"])):
        other, without = (getattr(copy.deepcopy(one), change)(arguments) for one in (again, plain))
        same = np.array_equal(other.predict_proba(images), without.predict_proba(images))
        assert same == (change == "remove_classes")  # seen and new ones compare by the mean image
    loaded.set_params(warm_start=True, train={"epochs": 1})
    assert loaded.fit(few.X, np.array(NAMES)[few.y])._fitted.calibration is None
