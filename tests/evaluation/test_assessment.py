"""What one pass tells about a model: mistakes and confidence, and their JSON."""

import json

import pytest
import torch

from open_clip_mmrl.evaluation.assessment import assess, assessment_json
from open_clip_mmrl.evaluation.metrics import calibration_error

NAMES = ["ant", "bee", "cow"]
PROBABILITIES = torch.tensor(
    [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9], [0.8, 0.2, 0.0]],
    dtype=torch.float64,
)
LABELS = torch.tensor([0, 1, 2, 2, 1])


@pytest.mark.parametrize("scores", [PROBABILITIES.log(), PROBABILITIES.log() + 3])
def test_confidence_is_the_softmax_of_the_scores_that_decide(scores):
    found = assess(scores, LABELS, NAMES)
    assert found.answers.tolist() == [0, 0, 1, 2, 0]
    torch.testing.assert_close(found.confidence, PROBABILITIES.max(dim=1).values)
    torch.testing.assert_close(
        found.of_true_class, torch.tensor([0.7, 0.3, 0.1, 0.9, 0.2]).double()
    )
    assert found.calibration_error == pytest.approx(calibration_error(PROBABILITIES, LABELS))


def test_mistakes_come_with_the_most_confident_first():
    scores = PROBABILITIES.log()
    assert assess(scores, LABELS, NAMES).mistakes() == [
        2,
        4,
        1,
    ]  # of equal ones the first image first
    assert assess(scores, torch.tensor([0, 0, 1, 2, 0]), NAMES).mistakes() == []


def test_json_holds_both_models_and_is_json():
    adapted = assess(PROBABILITIES.log(), LABELS, NAMES)
    frozen = assess(torch.eye(3)[LABELS], LABELS, NAMES)
    found = json.loads(json.dumps(assessment_json(adapted, frozen), allow_nan=False))
    assert (found["accuracy"], found["zero_shot"]) == (40.0, 100.0)
    assert found["balanced_accuracy"] == 50.0 and found["zero_shot_balanced_accuracy"] == 100.0
    assert found["per_class"]["bee"] == {
        "images": 2, "answers": 1, "recall": 0.0, "precision": 0.0, "zero_shot_recall": 100.0,
    }  # fmt: skip
    assert found["confused"] == [
        {"true": "bee", "predicted": "ant", "count": 2},
        {"true": "cow", "predicted": "bee", "count": 1},
    ]
