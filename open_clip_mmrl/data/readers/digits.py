"""`digits`: the 1,797 handwritten digits that ship with scikit-learn. Needs no download."""

import numpy as np

from ..dataset import ImageData
from ..example import Example

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPLATE = "a photo of the digit {}."
NUM_TRAIN, NUM_VAL = 500, 500


def read_digits() -> ImageData:
    """Read ten classes of 8 x 8 gray pixels, bright on black: 500 train, 500 val, 797 test.

    The splits are consecutive pieces of the file, not drawn at random: it holds the digits of 13
    people, one person's after another's, so the test digits were written by other people than the
    training digits (only one person's digits may be in two adjacent splits).

    Source: `sklearn.datasets.load_digits`, a copy of the test set of the UCI "Optical Recognition
    of Handwritten Digits". Its values are 0 to 16 and are scaled to 0 to 255.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("data 'digits' needs scikit-learn: pip install scikit-learn") from error

    values, labels = load_digits(return_X_y=True)
    pixels = np.rint(values.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # [1797, 8, 8]
    examples = tuple(
        Example(image=image, label=int(label)) for image, label in zip(pixels, labels, strict=True)
    )
    return ImageData(
        spec="digits",
        class_names=CLASS_NAMES,
        template=TEMPLATE,
        train=examples[:NUM_TRAIN],
        val=examples[NUM_TRAIN : NUM_TRAIN + NUM_VAL],
        test=examples[NUM_TRAIN + NUM_VAL :],
    )
