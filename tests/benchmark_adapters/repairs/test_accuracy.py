"""Top-k accuracy and the metrics of clip_benchmark."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from helpers.upstream import still_broken
from sklearn.metrics import recall_score

from benchmark_adapters import seam
from benchmark_adapters.repairs.accuracy import accuracy, metrics


def test_accuracy_by_hand():
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    target = torch.arange(50) % 7
    ranks = (logits > logits.gather(1, target[:, None])).sum(1)
    found = accuracy(logits, target, topk=(1, 5))
    assert found == [(ranks < 1).double().mean().item(), (ranks < 5).double().mean().item()]


@pytest.mark.parametrize("classes", [3, 5, 9])
def test_metrics_of_logits(classes):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(40, classes, generator=generator)
    labels = torch.randint(classes - 1, (40,), generator=generator)  # the last has no image
    found = metrics(logits, labels)
    assert found["acc1"] == (logits.argmax(1) == labels).sum().item() / 40
    recall = recall_score(labels, logits.argmax(1), labels=range(classes - 1), average="macro")
    assert found["mean_per_class_recall"] == pytest.approx(recall)
    top = [label in row.argsort()[-5:] for row, label in zip(logits, labels, strict=True)]
    expected = math.nan if classes < 5 else sum(top) / 40
    assert found["acc5"] == pytest.approx(expected, nan_ok=True)


def test_clip_benchmark_fails_with_numpy_2_4():
    theirs = seam.original(seam.CLASSIFICATION, "accuracy")
    broken = tuple(map(int, np.__version__.split(".")[:2])) >= (2, 4)
    check = still_broken("accuracy", TypeError, "0-dimensional arrays") if broken else nullcontext()
    with check:
        theirs(torch.eye(2), torch.arange(2))


def test_of_equal_logits_the_first_is_best():
    logits = torch.tensor([[1.0, 3, 3, 3, 3, 3, 3]])
    found = [accuracy(logits, torch.tensor([label]), topk=(1, 5)) for label in range(7)]
    assert found == [[0, 0], [1, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0, 0]]
