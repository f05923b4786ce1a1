"""The linear probe on the shipped tiny CLIP and on points drawn for the purpose."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.data import load_data
from open_clip_mmrl.data.loading.images import ImageSet, eval_transform
from open_clip_mmrl.evaluation.linear_probe import (
    DEFAULT_REGULARIZATION,
    GRID,
    best_power,
    fit_probe,
    frozen_features,
    train_probe,
)
from open_clip_mmrl.hub.load import build_for_training


@pytest.fixture(scope="module")
def model():
    return build_for_training(MODEL_NAME, TAG, device=torch.device("cpu"), seed=1).model


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


def points(per_class, classes=3, width=6, noise=1.0, seed=0):
    """Features [N, width] around one center per class, and labels [N]."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.eye(classes, width) * 2
    labels = torch.arange(classes).repeat_interleave(per_class)
    return centers[labels] + noise * torch.randn(len(labels), width, generator=generator), labels


def accuracy(probe, features, labels):
    return (probe.scores(features).argmax(1) == labels).double().mean().item()


def test_features_are_the_base_models_own_and_keep_their_length(model, digits):
    examples = digits.train[:5]
    found = frozen_features(model, examples, quiet=True)
    shown = ImageSet(examples, eval_transform(model))
    images = torch.stack([shown.load(i, epoch=0)[0] for i in range(5)])
    with torch.no_grad():
        expected = model.encode_image(images, features="frozen")
    torch.testing.assert_close(found, expected)
    assert found.dtype == torch.float32
    assert (found.norm(dim=1) - 1).abs().min() > 0.1


def test_one_image_per_class_is_no_matter_for_warnings(recwarn):
    fit_probe(*points(1, classes=24, width=24), num_classes=24)
    assert not recwarn.list


def test_features_in_half_precision_come_back_in_float32(model, digits):
    examples = digits.train[:4]
    exact = frozen_features(model, examples, quiet=True)
    found = frozen_features(model, examples, quiet=True, precision="amp_bf16")
    assert found.dtype == torch.float32 and not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, atol=0.05 * exact.abs().max().item(), rtol=0)


def test_features_of_no_images(model):
    with pytest.raises(ValueError, match="no images to take features of"):
        frozen_features(model, [], quiet=True)


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_scikit_learns(classes):
    features, labels = points(6, classes)
    probe = fit_probe(features, labels, *points(4, classes, seed=1), num_classes=classes)
    fitted = LogisticRegression(C=probe.regularization, max_iter=1000)
    fitted.fit(features.double().numpy(), labels.numpy())
    found = probe.scores(features).softmax(1).numpy()
    np.testing.assert_allclose(found, fitted.predict_proba(features.double().numpy()), atol=1e-4)
    assert probe.num_parameters == classes * 7


def test_the_search_reads_validation_accuracy_alone():
    features, labels = points(8, noise=2.0)
    val = points(40, noise=2.0, seed=1)
    probe = fit_probe(features, labels, *val, num_classes=3)
    assert probe.chosen_on == "validation"

    def fitted(c):
        return LogisticRegression(C=c, max_iter=1000).fit(features.double().numpy(), labels.numpy())

    best = max(fitted(c).score(val[0].double().numpy(), val[1].numpy()) for c in GRID)
    assert accuracy(probe, *val) >= best - 0.02
    # Other validation images, another choice; that is all they decide.
    other = fit_probe(features, labels, features, labels, num_classes=3)
    assert other.regularization > probe.regularization


@pytest.mark.parametrize(
    ("peak", "expected"),
    [(0.3, 0.3), (-0.7, -0.7), (2.6, 2.6), (9.0, 7.0), (-9.0, -7.0)],
)
def test_the_search_ends_near_a_single_peak(peak, expected):
    tried = []

    def value(power):
        tried.append(power)
        return -abs(power - peak)

    assert best_power(value) == pytest.approx(expected, abs=0.02)
    assert len(tried) == 16 and min(tried) >= -7 and max(tried) <= 7


def test_ties_go_to_the_first_of_the_grid_and_then_to_the_stronger_regularization():
    assert best_power(lambda power: 0.5) == 5.0


@pytest.mark.parametrize("lacking", ["no part", "a class"])
def test_without_validation_images_of_every_class_it_folds_the_training_images(lacking):
    features, labels = points(4, noise=0.5)
    val = (None, None) if lacking == "no part" else tuple(part[:8] for part in points(4, seed=1))
    probe = fit_probe(features, labels, *val, num_classes=3)
    again = fit_probe(features, labels, *val, num_classes=3)
    assert probe.chosen_on == "folds"
    assert probe.regularization == again.regularization
    assert torch.equal(probe.weight, again.weight)
    assert accuracy(probe, *points(50, noise=0.5, seed=2)) > 0.9


def test_a_class_of_one_image_beside_larger_ones_is_folded_too():
    features, labels = points(4)
    probe = fit_probe(features[:9], labels[:9], num_classes=3)  # 4, 4 and 1 images
    assert probe.chosen_on == "folds"
    assert probe.scores(features).isfinite().all()


def test_one_image_per_class_and_no_validation_takes_the_default():
    probe = fit_probe(*points(1), num_classes=3)
    assert probe.chosen_on == "default" and probe.regularization == DEFAULT_REGULARIZATION


def test_a_class_without_training_images_is_never_answered():
    features, labels = points(4)
    probe = fit_probe(features, torch.tensor([0, 2, 3])[labels], num_classes=5)
    scores = probe.scores(features)
    assert scores.shape == (12, 5)
    assert torch.isneginf(scores[:, [1, 4]]).all() and scores[:, [0, 2, 3]].isfinite().all()


def test_one_class_and_labels_out_of_range_are_refused():
    features, labels = points(2)
    with pytest.raises(ValueError, match=r"two classes at least; there are 1"):
        fit_probe(features[:2], labels[:2], num_classes=3)
    with pytest.raises(ValueError, match=r"with 2 classes labels are 0 to 1; they are 0 to 2"):
        fit_probe(features, labels, num_classes=2)


def test_a_probe_of_few_digits_beats_chance_and_more_shots_help(model, digits):
    test = digits.test[:300]
    features = frozen_features(model, test, quiet=True)
    labels = torch.tensor([example.label for example in test])
    found = {}
    for shots in (1, 16):
        subset = digits.few_shot(shots, 1)
        probe = train_probe(model, subset, shots=shots, seed=1, quiet=True)
        assert probe.chosen_on == "validation"
        found[shots] = accuracy(probe, features, labels)
    assert 0.2 < found[1] < found[16] and found[16] > 0.8


@pytest.mark.parametrize(("shots", "used"), [(2, 2), (16, 4)])
def test_at_most_four_validation_images_per_class_are_looked_at(
    model, digits, monkeypatch, shots, used
):
    from open_clip_mmrl.evaluation import linear_probe as module

    counts = []
    original = module.frozen_features

    def counted(model, examples, **how):
        counts.append(np.bincount([example.label for example in examples]).tolist())
        return original(model, examples, **how)

    monkeypatch.setattr(module, "frozen_features", counted)
    train_probe(model, digits.few_shot(shots, 1), shots=shots, seed=1, quiet=True)
    assert counts == [[shots] * 10, [used] * 10]


def test_a_data_set_without_a_validation_part(model, digits):
    from dataclasses import replace

    subset = replace(digits.few_shot(2, 1), val=())
    assert train_probe(model, subset, shots=2, seed=1, quiet=True).chosen_on == "folds"
