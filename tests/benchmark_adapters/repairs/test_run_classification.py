"""Scoring: clip_benchmark's logits, and checks of labels and classifiers."""

import pytest
import torch
from helpers.shard_sets import DIGITS
from helpers.upstream import mended

from benchmark_adapters import seam
from benchmark_adapters.repairs.run_classification import run_classification

LIST = ["a photo of the number {c}.", "the digit {c}.", "{c}"]
theirs = seam.original(seam.CLASSIFICATION, "zero_shot_classifier")
their_scores = seam.original(seam.CLASSIFICATION, "run_classification")


def images(count=40, seed=0):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def batches(labels, size=16):
    pictures = images(len(labels))
    return list(zip(pictures.split(size), torch.as_tensor(labels).split(size), strict=True))


@pytest.mark.parametrize("amp", [False, True], ids=["float32", "amp"])
def test_scores_equal_theirs(clip_model, clip_tokenizer, amp):
    classifier = theirs(clip_model, clip_tokenizer, DIGITS, LIST, "cpu", amp=amp)
    data = batches([i % 10 for i in range(40)])
    ours, target = run_classification(clip_model, classifier, data, "cpu:0", amp=amp)
    wanted, their_target = their_scores(clip_model, classifier, data, "cpu", amp=amp)
    assert torch.equal(ours, wanted) and torch.equal(target, their_target)
    assert ours.dtype == torch.float32


def test_multi_label_targets_are_taken(stock_clip):
    target = torch.eye(10, dtype=torch.long)
    _, found = run_classification(stock_clip, torch.randn(64, 10), [(images(10), target)], "cpu")
    assert torch.equal(found, target)


def test_a_half_precision_classifier_works_without_amp(stock_clip, clip_tokenizer):
    data = batches([0, 1, 2])
    half = theirs(stock_clip, clip_tokenizer, DIGITS, LIST, "cpu", amp=True)
    assert half.dtype == torch.bfloat16
    found, _ = run_classification(stock_clip, half, data, "cpu", amp=False)
    assert torch.equal(
        found, run_classification(stock_clip, half.float(), data, "cpu", amp=False)[0]
    )


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (torch.tensor([3, 10]), r"label 10, but there are 10 class names, for labels 0 to 9"),
        (torch.tensor([0, -1]), r"label -1, but there are 10 class names"),
        (torch.zeros(2, 9), r"have 9 columns, but there are 10 class names"),
    ],
)
def test_targets_that_are_no_class(stock_clip, targets, words):
    """Found in the batch they come in, not at the end."""
    good = (images(2), torch.zeros(2, dtype=torch.long))

    def data():
        yield good
        yield images(2), targets
        raise AssertionError("read on")

    with pytest.raises(ValueError, match=words):
        run_classification(stock_clip, torch.randn(64, 10), data(), "cpu")


def test_a_classifier_of_another_width(stock_clip):
    with pytest.raises(
        ValueError, match=r"for features of width 128, this model's have 64.*mmrl_f"
    ):
        run_classification(stock_clip, torch.randn(128, 10), batches([0, 1]), "cpu")


def test_no_images(stock_clip):
    with pytest.raises(ValueError, match="no images to classify"):
        run_classification(stock_clip, torch.randn(64, 10), [], "cpu")


def test_clip_benchmark_takes_labels_beyond_the_class_names(stock_clip):
    try:
        their_scores(stock_clip, torch.randn(64, 10), batches([0, 10]), "cpu", amp=False)
    except ValueError:
        pytest.fail(mended("run_classification"))
