"""Numbers from scores and labels, against hand computations."""

import pytest
import torch

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.evaluation.logits import Logits
from open_clip_mmrl.evaluation.metrics import (
    accuracy,
    alpha_curve,
    calibration_error,
    generalized,
    per_class_accuracy,
    reliability,
)
from open_clip_mmrl.models.ops import mix


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def scores_for(answers, classes):
    """Scores whose largest is the answer's."""
    return torch.nn.functional.one_hot(torch.tensor(answers), classes).double()


LABELS = torch.tensor([0, 1, 1, 3, 3, 3])
SCORES = scores_for([0, 1, 2, 3, 3, 0], 4)


def test_accuracy_is_percent():
    assert accuracy(SCORES, LABELS) == pytest.approx(400 / 6)
    assert accuracy(SCORES[:1], LABELS[:1]) == 100.0


def test_per_class_accuracy_leaves_a_class_without_images_open():
    assert per_class_accuracy(SCORES, LABELS, 4) == [100.0, 50.0, None, pytest.approx(200 / 3)]
    assert per_class_accuracy(SCORES, LABELS, 6)[4:] == [None, None]


def test_the_classes_weighed_by_their_images_give_the_accuracy():
    scores, labels = draw(50, 7), torch.arange(50) % 5
    found = per_class_accuracy(scores, labels, 7)
    assert found[5:] == [None, None]
    assert sum(found[:5]) / 5 == pytest.approx(accuracy(scores, labels))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: accuracy(SCORES[0], LABELS), r"scores are \(4,\) and labels \(6,\)"),
        (lambda: accuracy(SCORES, LABELS[:2]), r"scores are \(6, 4\) and labels \(2,\)"),
        (lambda: accuracy(SCORES[:0], LABELS[:0]), "no images to score"),
        (lambda: accuracy(SCORES, LABELS + 1), "labels are 1 to 4, .* of 4 classes: 0 to 3"),
        (lambda: accuracy(SCORES, LABELS - 1), "labels are -1 to 2"),
        (lambda: per_class_accuracy(SCORES, LABELS, 3), "a label is 3, but there are 3 classes"),
        (
            lambda: alpha_curve(Logits(SCORES, SCORES, SCORES, LABELS), steps=1),
            "steps is 1; .* 2 or more",
        ),
        (lambda: calibration_error(SCORES, LABELS, 0), "bins is 0; .* 1 or more"),
        (lambda: calibration_error(3 * SCORES, LABELS), r"not probabilities.*softmax\(dim=1\)"),
        (lambda: calibration_error(1 - 2 * SCORES, LABELS), "negative"),
    ],
)
def test_what_cannot_be_scored(run, words):
    with pytest.raises(ValueError, match=words):
        run()


# Mixing.


def test_mix_of_logits_and_of_probabilities():
    a, b = draw(3, 4, seed=1), draw(3, 4, seed=2)
    torch.testing.assert_close(mix(a, b, 0.7), 0.7 * a + 0.3 * b)
    p = 0.7 * a.exp() / a.exp().sum(1, keepdim=True) + 0.3 * b.exp() / b.exp().sum(1, keepdim=True)
    torch.testing.assert_close(mix(a, b, 0.7, "probabilities").exp(), p)


def test_only_seen_classes_are_mixed():
    a, b = draw(3, 4, seed=1), draw(3, 4, seed=2)
    seen = torch.tensor([True, False, True, False])
    assert torch.equal(mix(a, b, 0.7, seen=seen), torch.where(seen, mix(a, b, 0.7), a))
    p = mix(a, b, 0.7, "probabilities", seen).exp()
    expected = torch.where(seen, mix(a, b, 0.7, "probabilities").exp(), a.softmax(1))
    torch.testing.assert_close(p, expected)
    assert mix(a, None, 0.7, seen=seen) is a


@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_nothing_to_mix(fusion):
    assert mix(SCORES, None, 0.3, fusion) is SCORES


def test_an_unknown_fusion():
    with pytest.raises(UsageError, match=r"fusion is 'sum'.*'logits', 'probabilities'"):
        mix(SCORES, None, 0.7, "sum")


def test_alpha_curve_is_the_mix_at_every_step():
    by_class, by_rep, labels = draw(40, 5, seed=1), draw(40, 5, seed=2), torch.arange(40) % 5
    both = Logits(by_class, by_rep, by_class, labels)
    curve = alpha_curve(both)
    assert [alpha for alpha, _ in curve] == [i / 10 for i in range(11)]
    assert curve[0][1] == accuracy(by_rep, labels)
    assert curve[3][1] == accuracy(0.3 * by_class + 0.7 * by_rep, labels)
    assert curve[-1][1] == accuracy(by_class, labels)
    assert len({score for _, score in curve}) > 2
    assert [alpha for alpha, _ in alpha_curve(both, steps=3)] == [0.0, 0.5, 1.0]


def test_alpha_curve_mixes_as_the_run_does():
    by_class, by_rep = 6 * draw(60, 5, seed=1), draw(60, 5, seed=2)
    labels = torch.arange(60) % 5
    both = Logits(by_class, by_rep, by_class, labels)
    curve = alpha_curve(both, "probabilities")
    mixed = (0.3 * by_class.softmax(-1) + 0.7 * by_rep.softmax(-1)).log()
    assert curve[3][1] == accuracy(mixed, labels)
    assert curve != alpha_curve(both)


def test_alpha_curve_of_one_feature_is_flat():
    curve = alpha_curve(Logits(SCORES, None, SCORES, LABELS), steps=4)
    assert {score for _, score in curve} == {accuracy(SCORES, LABELS)}


# Calibration.


def two_classes(confidences):
    """Probabilities of two classes, the first one's given."""
    first = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([first, 1 - first], dim=1)


def test_calibration_error_by_hand():
    """Two bins of four, (0.5, 0.75] and (0.75, 1]: |0.65 - 1/2| and |0.9 - 2/3|."""
    probabilities = two_classes([0.6, 0.7, 0.9, 0.8, 1.0])
    labels = torch.tensor([0, 1, 0, 0, 1])
    expected = 100 * (2 / 5 * abs(0.65 - 0.5) + 3 / 5 * abs(0.9 - 2 / 3))
    assert calibration_error(probabilities, labels, bins=4) == pytest.approx(expected)


def test_an_edge_belongs_to_the_bin_below():
    """0.75 and 0.6 in one bin: right and wrong make up for each other in part."""
    probabilities, labels = two_classes([0.75, 0.6]), torch.tensor([0, 1])
    expected = 100 * abs((0.75 + 0.6) - 1) / 2
    assert calibration_error(probabilities, labels, bins=4) == pytest.approx(expected)


def test_reliability_bins_by_hand():
    probabilities = two_classes([0.6, 0.7, 0.9, 0.8, 1.0])
    bins = reliability(probabilities, torch.tensor([0, 1, 0, 0, 1]), bins=4)
    assert [(one.low, one.high, one.images) for one in bins] == [
        (0.0, 25.0, 0), (25.0, 50.0, 0), (50.0, 75.0, 2), (75.0, 100.0, 3),
    ]  # fmt: skip
    assert bins[0].confidence is None and bins[0].accuracy is None
    assert (bins[2].confidence, bins[2].accuracy) == (pytest.approx(65), 50)
    assert (bins[3].confidence, bins[3].accuracy) == (pytest.approx(90), pytest.approx(200 / 3))


def test_the_bins_give_the_calibration_error():
    probabilities, labels = draw(300, 6).softmax(1), torch.arange(300) % 6
    bins = [one for one in reliability(probabilities, labels) if one.images]
    gaps = sum(one.images * abs(one.confidence - one.accuracy) for one in bins) / 300
    assert gaps == pytest.approx(calibration_error(probabilities, labels))


def test_calibration_error_of_certainty():
    labels = torch.tensor([0, 1, 1, 0])
    assert calibration_error(two_classes([1.0, 0.0, 0.0, 1.0]), labels) == 0.0
    assert calibration_error(two_classes([0.0, 1.0, 1.0, 0.0]), labels) == 100.0


def test_calibration_error_takes_float32_and_half():
    logits, labels = draw(200, 10), torch.arange(200) % 10
    exact = calibration_error(logits.softmax(1), labels)
    assert 0 < exact < 100
    assert calibration_error(logits.float().softmax(1), labels) == pytest.approx(exact, abs=1e-3)
    assert calibration_error(logits.softmax(1).bfloat16(), labels) == pytest.approx(exact, abs=2)


# Base and new classes at once.

SEEN = torch.tensor([True, True, False, False])


def logits(by_class, by_rep, labels):
    return Logits(by_class, by_rep, by_class, torch.as_tensor(labels, dtype=torch.long))


def test_generalized_by_hand():
    """alpha 0.5. Of the base images, the first is right by the mix alone (class: 3), the second is
    lost to a new class. Of the novel ones, the second would be right by the mix (4 + 9) only."""
    by_class = [
        [1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 5.0, 0.0],
        [0.0, 0.0, 3.0, 0.0], [5.0, 0.0, 0.0, 4.0], [0.0, 0.0, 1.0, 0.0],
    ]  # fmt: skip
    by_rep = [
        [9.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0], [5.0, 0.0, 0.0, 9.0], [0.0, 8.0, 0.0, 0.0],
    ]  # fmt: skip
    both = logits(torch.tensor(by_class), torch.tensor(by_rep), [0, 1, 2, 3, 2])
    found = generalized(both, SEEN, 0.5)
    expected = {"seen": 50.0, "unseen": 100 / 3, "hm": 40.0}
    assert found == {name: pytest.approx(value) for name, value in expected.items()}


def test_generalized_by_the_class_feature_alone():
    scores, labels = scores_for([0, 1, 2, 2, 0], 4), [0, 1, 1, 2, 3]
    found = generalized(logits(scores, None, labels), SEEN, 0.7)
    assert (found["seen"], found["unseen"]) == (pytest.approx(200 / 3), 50.0)
    with_rep = logits(scores, draw(5, 4), labels)
    assert generalized(with_rep, SEEN, 1.0) == found
    assert generalized(with_rep, SEEN, 0.0) != found


@pytest.mark.parametrize(
    ("labels", "seen", "words"),
    [
        ([0, 3], SEEN[:2], r"seen is torch\.bool of shape \(2,\); .*shape \(4,\)"),
        ([0, 3], SEEN.long(), r"seen is torch\.int64 of shape \(4,\)"),
        ([3, 2], SEEN, "no images to score"),
        ([], SEEN, "no images to score"),
        ([0, 4], SEEN, "labels are 0 to 4"),
    ],
)
def test_generalized_refuses_what_does_not_fit(labels, seen, words):
    with pytest.raises(ValueError, match=words):
        generalized(logits(draw(len(labels), 4), None, labels), seen, 0.7)
