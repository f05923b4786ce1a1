"""Temperature, sets of classes and rejection, against definitions and simulated images."""

import sys

import numpy as np
import pytest
import sklearn
import torch
from helpers.packages import has_temperature

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.evaluation.calibration import (
    calibrate,
    confidence,
    fit_temperature,
    require_calibration_packages,
    unknown_classes,
)
from open_clip_mmrl.evaluation.certainty import max_softmax
from open_clip_mmrl.evaluation.conformal import images_needed, reject_threshold, set_predictor
from open_clip_mmrl.evaluation.logits import Logits, Scoring
from open_clip_mmrl.evaluation.metrics import calibration_error

TEMPERATURE = 2.5


def images(count, classes=5, seed=0):
    """Scores, and labels that are true with probability softmax(scores / TEMPERATURE)."""
    generator = torch.Generator().manual_seed(seed)
    scores = 8 * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    drawn = torch.multinomial((scores / TEMPERATURE).softmax(1), 1, generator=generator)
    return scores, drawn[:, 0]


def logits_of(count, classes=5, seed=0):
    scores, labels = images(count, classes, seed)
    return Logits(scores, scores.roll(1, dims=0), scores, labels)


def log_loss(scores, labels, temperature):
    return torch.nn.functional.cross_entropy(scores / temperature, labels).item()


@has_temperature
@pytest.mark.parametrize("classes", [2, 5])
def test_temperature_has_the_smallest_log_loss(classes):
    scores, labels = images(4000, classes)
    found = fit_temperature(scores, labels)
    assert found == pytest.approx(TEMPERATURE, rel=0.1)
    best = log_loss(scores, labels, found)
    assert all(log_loss(scores, labels, found * factor) > best for factor in (0.99, 1.01))


@has_temperature
def test_temperature_of_images_that_leave_classes_out():
    scores, labels = images(3000)
    kept = labels >= 2
    found = fit_temperature(scores[kept], labels[kept])
    best = log_loss(scores[kept], labels[kept], found)
    assert all(log_loss(scores[kept], labels[kept], found * f) > best for f in (0.99, 1.01))


@has_temperature
def test_temperature_of_probabilities_that_underflow():
    scores, labels = images(300)
    scores[scores < scores.max(dim=1, keepdim=True).values - 20] = -torch.inf
    assert 0 < fit_temperature(scores, labels) < np.inf


def test_an_old_scikit_learn_is_named_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(sklearn, "__version__", "1.7.2")
    with pytest.raises(UsageError, match=r"1\.8 or newer; this is 1\.7\.2"):
        require_calibration_packages()


def test_missing_mapie_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mapie.classification", None)
    with pytest.raises(UsageError, match=r"pip install 'mapie>=1\.3'"):
        set_predictor([0.5] * 10, 2, 0.9)


def test_sets_hold_the_classes_that_are_as_probable_as_the_quantile():
    true = [0.05, 0.30, 0.35, 0.40, 0.50, 0.60, 0.70, 0.80, 0.95]
    # LAC with n = 9 and 75 %: the ceil(10 * 0.75) = 8th smallest 1 - p, that of p = 0.30.
    found = set_predictor(true, 3, 0.75)(torch.tensor([[0.31, 0.45, 0.24], [0.29, 0.42, 0.29]]))
    assert found.tolist() == [[True, True, False], [False, True, False]]


def test_sets_are_those_of_mapie_on_whole_rows():
    from mapie.classification import SplitConformalClassifier

    from open_clip_mmrl.evaluation.conformal import AsGiven

    scores, labels = images(200)
    probabilities = scores.softmax(1)
    whole = SplitConformalClassifier(AsGiven(5).fit(), confidence_level=0.9)
    whole.conformalize(probabilities[:80].numpy(), labels[:80].numpy())
    wanted = whole.predict_set(probabilities[80:].numpy())[1][:, :, 0]
    true = probabilities[torch.arange(80), labels[:80]].tolist()
    assert set_predictor(true, 5, 0.9)(probabilities[80:]).tolist() == wanted.tolist()


def test_too_few_held_back_images_are_counted():
    assert [images_needed(c) for c in (0.5, 0.8, 0.9, 0.95, 0.99)] == [2, 5, 10, 20, 100]
    assert set_predictor([0.9] * 10, 2, 0.9)(torch.full((1, 2), 0.5)).shape == (1, 2)
    with pytest.raises(UsageError, match=r"9 images were held back.* 90 % .*need 10"):
        set_predictor([0.9] * 9, 2, 0.9)
    assert reject_threshold([0.4, *[0.5] * 18], 0.05) == 0.4
    with pytest.raises(UsageError, match=r"18 images were held back.* 5 % needs 19"):
        reject_threshold([0.5] * 18, 0.05)
    for share in (0, 1, -0.1, 90, float("nan")):
        with pytest.raises(UsageError, match="between 0 and 1"):
            images_needed(share)


def test_rejection_keeps_its_rate_on_average():
    generator = np.random.default_rng(0)
    rates = []
    for _ in range(400):
        held_back, new = generator.random(40), generator.random(40)
        rates.append((new <= reject_threshold(held_back.tolist(), 0.1)).mean())
    assert np.mean(rates) == pytest.approx(4 / 41, abs=0.01)


def test_max_softmax_is_of_cosines():
    cosines = torch.tensor([[0.9, 0.1], [0.2, 0.2]])
    assert max_softmax(100 * cosines, 100).tolist() == pytest.approx([1 / (1 + np.exp(-0.8)), 0.5])


def test_unknown_classes_by_counting_pairs():
    logits = logits_of(300, classes=6)
    known = logits.labels < 4
    score = max_softmax(logits.by_class[:, :4], 10.0)
    more = (score[known][:, None] > score[~known]).double().mean().item()
    passed = [(score[~known] >= t).double().mean().item() for t in score[known].sort().values]
    found = unknown_classes(logits, 4, Scoring("class"), 10.0)
    assert found["auroc"] == pytest.approx(100 * more)
    assert found["fpr95"] == pytest.approx(100 * passed[int(known.sum() * 0.05)])


@has_temperature
@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_confidence_on_images_like_those_held_back(fusion):
    scoring = Scoring("fused", 1.0, fusion)
    calibration = calibrate(logits_of(2000), Scoring("fused", 1.0), 10.0, "val")
    found = confidence(calibration, logits_of(2000, seed=1), scoring, 0.9)
    scores, labels = images(2000, seed=1)
    assert found["ece"] < calibration_error(scores.softmax(1), labels) / 3
    assert found["coverage"] == pytest.approx(90, abs=2.5)
    assert 1 < found["set_size"] < 3
    assert calibration.max_softmax == sorted(calibration.max_softmax)


@has_temperature
def test_confidence_without_sets_where_too_few_images_were_held_back():
    calibration = calibrate(logits_of(8), Scoring("fused", 0.5), 10.0, "shots")
    found = confidence(calibration, logits_of(50), Scoring("fused", 0.5), 0.9)
    assert found["coverage"] is None and found["set_size"] is None and found["ece"] > 0
