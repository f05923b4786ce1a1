"""A run is checked, as far as its data tell, before anything is computed."""

from dataclasses import replace

import pytest
from helpers.runs import make_run

from open_clip_mmrl.data import load_data
from open_clip_mmrl.experiments.resolve import require_tested


@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [
        ("base", range(5), "no test images of novel classes"),
        ("base", range(5, 10), "no test images of base classes"),
        ("all", (), "no test images to score"),
    ],
)
def test_a_split_without_images_to_score_is_refused(classes, labels, message):
    digits = load_data("digits")
    data = replace(digits, test=tuple(e for e in digits.test if e.label in labels))
    with pytest.raises(ValueError, match=message):
        require_tested(data, make_run(classes=classes, test_split="test"))
