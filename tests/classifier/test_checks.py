"""scikit-learn's own checks of estimators, on a classifier of rows that are drawn as images."""

from functools import partial

import numpy as np
import open_clip
import pytest
import torch
from helpers.tiny import tiny_model_config
from open_clip import factory
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from open_clip_mmrl import FewShotClassifier, register
from open_clip_mmrl.classifier.labels import label_list

checks = pytest.importorskip("sklearn.utils.estimator_checks")
if not hasattr(checks, "estimator_checks_generator"):
    pytest.skip("scikit-learn 1.6 has these checks first", allow_module_level=True)

FAILING = {
    "check_supervised_y_2d": "labels [n, 1] are refused with column_or_1d's words, not flattened",
}
ROUNDED = ("check_methods_subset_invariance", "check_methods_sample_order_invariance")
"""These want equality to 1e-9, and float32's sums depend on what is computed at the same time."""
WORDS = ["one", "two", "three", "four", "five"]


class OfRows(FewShotClassifier):
    """Rows [n, d] of a table as gray images of 1 x d pixels; classes of any labels.

    A table is what the checks give. It has names and a number of columns, images have none: the
    checks of these test this class alone. All others test what it inherits.
    """

    def _images(self, X, **how):
        from sklearn.utils.validation import validate_data

        rows = validate_data(self, X, **how).astype(float)
        return [row[None] for row in 1 / (1 + np.exp(-rows))]

    def fit(self, X, y):
        images, labels = self._images(X), label_list(y)
        if not isinstance(labels[0], str):
            self.class_names = dict(zip(sorted(set(labels)), WORDS, strict=False))
        try:
            return super().fit(images, y)
        finally:
            self.class_names = None

    def predict_proba(self, X, fusion="probabilities"):
        check_is_fitted(self, "model_")
        return super().predict_proba(self._images(X, reset=False), fusion)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = tags.input_tags.three_d_array = False
        tags.input_tags.string = False
        tags.classifier_tags.poor_score = True  # on such images
        return tags


BASE = "Tiny-8-words"


@pytest.fixture
def of_rows(registries, tmp_path):
    """A classifier on a base of a few thousand parameters, given by a file."""
    text = {"context_length": 12, "vocab_size": 49408, "width": 4, "heads": 1, "layers": 2}
    factory._MODEL_CONFIGS[BASE] = tiny_model_config(text_cfg=text)
    register()
    torch.manual_seed(0)
    path = tmp_path / "base.safetensors"
    save_file(open_clip.create_model(BASE).state_dict(), path)
    train = {"epochs": 1, "batch_size": 64}
    return OfRows(BASE, str(path), config={"start_layer": 2}, train=train, device="cpu")


def close_in_float32(found, expected, *_, **__):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def by_name():
    """Every check once: some come again with memory-mapped data, of which one check is enough."""
    found = {}
    for _, check in checks.estimator_checks_generator(OfRows(), legacy=True):
        inner = check.func if isinstance(check, partial) else check
        while isinstance(inner, partial):
            inner = inner.func
        found.setdefault(inner.__name__, check)
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "check"), by_name().items(), ids=list(by_name()))
def test_check_of_scikit_learn(name, check, of_rows, monkeypatch):
    if name in ROUNDED:
        for function in ("assert_allclose", "assert_allclose_dense_sparse"):
            monkeypatch.setattr(checks, function, close_in_float32)
    if name not in FAILING:
        check(clone(of_rows))
        return
    with pytest.raises((ValueError, AssertionError)):
        check(clone(of_rows))


def test_the_classifier_itself_takes_images_and_no_table():
    tags = FewShotClassifier().__sklearn_tags__()
    assert tags.input_tags.one_d_array and tags.input_tags.three_d_array
    assert tags.input_tags.string and not tags.input_tags.two_d_array
    assert tags.target_tags.required and tags.classifier_tags.multi_class
    assert not tags.input_tags.allow_nan and not tags.input_tags.sparse
