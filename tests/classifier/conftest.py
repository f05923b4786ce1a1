"""A fitted classifier and its images, on the shipped tiny CLIP and real digits."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
from sklearn.datasets import load_digits

from open_clip_mmrl import FewShotClassifier
from open_clip_mmrl.assets import MODEL_NAME

NAMES = ("zero", "one", "two")


@pytest.fixture(autouse=True)
def _one_tokenizer(monkeypatch):
    """Building it takes half of the time of a small fit."""
    monkeypatch.setattr(open_clip, "get_tokenizer", cache(open_clip.get_tokenizer))


@pytest.fixture(scope="session")
def make():
    """A classifier of three digits, not fitted, with other parameters where they are given."""

    def make(**changes):
        values = {
            "class_names": NAMES,
            "template": "a photo of the digit {}.",
            "config": {"rep_dim": 8, "start_layer": 4},
            "train": {"epochs": 4, "batch_size": 8, "flip": False, "lr": 4e-3},
            "device": "cpu",
        }
        return FewShotClassifier(MODEL_NAME, **{**values, **changes})

    return make


@pytest.fixture(scope="session")
def few():
    """Of three digits: 8 images each to train on (X, y), and others (X_test, y_test)."""
    digits = load_digits(n_class=3)
    train = np.concatenate([np.flatnonzero(digits.target == c)[:8] for c in range(3)])
    test = np.setdiff1d(np.arange(len(digits.target)), train)
    images, labels = digits.images / 16, digits.target
    return SimpleNamespace(
        X=images[train], y=labels[train], X_test=images[test], y_test=labels[test]
    )


@pytest.fixture(scope="session")
def fitted(make, few):
    return make().fit(few.X, few.y)
