"""Which classes a confusion matrix shows, and that no image is lost in it."""

import torch
from sklearn.metrics import confusion_matrix as expected_matrix

from open_clip_mmrl.evaluation.class_metrics import confusions
from open_clip_mmrl.report.evaluation.matrix import CONFUSED_CLASSES, OTHERS, confusion_matrix


def found(classes, images=400):
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, classes, (images,), generator=generator)
    scores = torch.rand(images, classes, generator=generator)
    scores[torch.arange(images), labels] += 0.6
    names = [f"class {i}" for i in range(classes)]
    return confusions(scores, labels, names), labels, scores.argmax(dim=1)


def test_a_whole_matrix_is_the_one_of_scikit_learn():
    result, labels, answers = found(6)
    matrix = confusion_matrix(result)
    counts = [[cell.count for cell in row.cells] for row in matrix.rows]
    assert counts == expected_matrix(labels, answers, labels=range(6)).tolist()
    assert matrix.columns == tuple(f"class {i}" for i in range(6)) and matrix.left_out == 0
    assert all(sum(cell.share for cell in row.cells) - 1 < 1e-9 for row in matrix.rows)


def test_of_many_classes_the_most_confused_are_shown_and_every_image_counts():
    result, _, _ = found(80)
    matrix = confusion_matrix(result)
    assert len(matrix.rows) == CONFUSED_CLASSES and matrix.left_out == 80 - CONFUSED_CLASSES
    assert matrix.columns[:2] == (result.pairs[0].true, result.pairs[0].predicted)
    assert matrix.columns[-1] == OTHERS
    for row in matrix.rows:
        assert sum(cell.count for cell in row.cells) == row.images


def test_many_classes_without_a_confusion_have_no_rows():
    labels = torch.arange(60)
    names = [f"class {i}" for i in labels.tolist()]
    assert confusion_matrix(confusions(torch.eye(60), labels, names)).rows == ()
