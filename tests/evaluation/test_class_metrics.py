"""Recall, precision and confused pairs: by hand, and as scikit-learn computes them."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

from open_clip_mmrl.evaluation.class_metrics import ConfusedPair, balanced_accuracy, confusions
from open_clip_mmrl.evaluation.metrics import per_class_accuracy

NAMES = ["ant", "bee", "cow", "dog"]
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
ANSWERS = torch.tensor([0, 1, 3, 1, 0, 1, 1, 2])


def scores_for(answers, classes=4):
    return torch.nn.functional.one_hot(answers, classes).double()


def test_recall_precision_and_pairs_by_hand():
    found = confusions(scores_for(ANSWERS), LABELS, NAMES)
    ant, bee, cow, dog = found.classes
    assert found.accuracy == 37.5
    assert found.balanced_accuracy == pytest.approx(100 * (1 / 3 + 1 / 2 + 1 / 3) / 3)
    assert (ant.images, ant.answers, ant.precision) == (3, 2, 50.0)
    assert (bee.recall, bee.precision) == (50.0, 25.0)
    assert (cow.recall, cow.precision) == (pytest.approx(100 / 3), 100.0)
    assert (dog.images, dog.recall, dog.precision) == (0, None, 0.0)
    pairs = [("cow", "bee", 2), ("ant", "bee", 1), ("ant", "dog", 1), ("bee", "ant", 1)]
    assert found.pairs == tuple(ConfusedPair(*pair) for pair in pairs)
    assert [one.name for one in found.worst()] == ["ant", "cow", "bee"]


def test_metrics_are_those_of_scikit_learn():
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 9, (200,), generator=generator)
    scores = torch.rand(200, 12, generator=generator)
    scores[:, 10] = 0  # never the answer
    names = [f"class {i}" for i in range(12)]
    found = confusions(scores, labels, names)
    true, answers = labels.numpy(), scores.argmax(dim=1).numpy()
    precision, recall, _, images = precision_recall_fscore_support(
        true, answers, labels=range(12), zero_division=np.nan
    )
    ours = [(one.precision, one.recall, one.images) for one in found.classes]
    theirs = zip(100 * precision, 100 * recall, images, strict=True)
    for (p, r, n), expected in zip(ours, theirs, strict=True):
        given = (np.nan if p is None else p, np.nan if r is None else r, n)
        assert given == pytest.approx(expected, nan_ok=True)
    assert found.classes[10].precision is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # answers that are no labels
        assert found.balanced_accuracy == pytest.approx(
            100 * balanced_accuracy_score(true, answers)
        )
    matrix = confusion_matrix(true, answers, labels=range(12))
    assert len(found.pairs) == (matrix > 0).sum() - (np.diag(matrix) > 0).sum()
    for pair in found.pairs:
        assert pair.count == matrix[names.index(pair.true), names.index(pair.predicted)]
    assert [one.recall for one in found.classes] == per_class_accuracy(scores, labels, 12)


def test_the_first_of_equal_scores_is_the_answer():
    found = confusions(torch.ones(2, 4), torch.tensor([0, 1]), NAMES)
    assert found.pairs == (ConfusedPair("bee", "ant", 1),)


def test_nothing_wrong_has_no_pairs():
    found = confusions(scores_for(LABELS), LABELS, NAMES)
    assert (found.accuracy, found.balanced_accuracy, found.pairs) == (100.0, 100.0, ())


def test_balanced_accuracy_leaves_out_classes_without_images():
    assert balanced_accuracy([50.0, None, 100.0]) == 75.0


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="no images to score"):
        confusions(torch.ones(0, 4), torch.ones(0, dtype=torch.long), NAMES)
