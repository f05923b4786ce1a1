import sys

import numpy as np
import pytest

from open_clip_mmrl.data import read_image
from open_clip_mmrl.data.readers.digits import CLASS_NAMES, read_digits


@pytest.fixture(scope="module")
def digits():
    return read_digits()


def test_counts_and_names(digits):
    assert (len(digits.train), len(digits.val), len(digits.test)) == (500, 500, 797)
    assert digits.class_names == CLASS_NAMES and len(CLASS_NAMES) == 10
    assert digits.template == "a photo of the digit {}."
    assert digits.shortfall(16) == {}


def test_pixels_are_the_file_in_order_scaled_to_255(digits):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    every = digits.train + digits.val + digits.test
    assert [example.label for example in every] == bunch.target.tolist()
    pixels = np.stack([example.image for example in every])
    assert (pixels.dtype, pixels.shape) == (np.uint8, (1797, 8, 8))
    assert np.abs(pixels - bunch.images * 255 / 16).max() <= 0.5
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_images_can_be_read(digits):
    image = read_image(digits.train[0])
    assert (image.mode, image.size) == ("RGB", (8, 8))


def test_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        read_digits()
