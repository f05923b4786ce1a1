import hashlib

import numpy as np
import pytest
import torch

from open_clip_mmrl.assets.characters import CLASSES
from open_clip_mmrl.data import load_data
from open_clip_mmrl.data.readers.scrawl import IMAGES, read_scrawl


@pytest.fixture(scope="module")
def data():
    return load_data("scrawl")


def test_all_classes_of_the_tiny_clip_of_every_kind_in_base_and_novel(data):
    assert sorted(data.class_names) == sorted(CLASSES) and data.num_classes >= 40
    for split, count in IMAGES.items():
        examples = getattr(data, split)
        assert np.bincount([e.label for e in examples]).tolist() == [count] * data.num_classes
        assert all(e.image.shape == (32, 32) and e.image.dtype == np.uint8 for e in examples)
    for classes in ("base", "novel"):
        names = " ".join(data.select(classes).class_names)
        assert all(word in names for word in ("digit", "capital letter", "small letter"))


def test_the_draw_is_pinned(data):
    order = "|".join(data.class_names).encode()
    assert hashlib.sha256(order).hexdigest()[:16] == "b93cb52792a67189"
    # Not a hash of the pixels: versions of Pillow and PyTorch may round them differently.
    means = [float(e.image.mean()) for e in data.train[:3] + data.test[-3:]]
    assert means == pytest.approx([52.91, 58.01, 87.29, 45.13, 51.29, 72.1], abs=0.5)


def test_the_same_images_every_time_and_none_twice(data):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    again = read_scrawl.__wrapped__()  # drawn anew
    assert torch.equal(before, torch.get_rng_state())  # the global generator is left alone
    pixels = [np.stack([e.image for e in d.train + d.test]) for d in (data, again)]
    assert np.array_equal(*pixels)
    assert len({image.tobytes() for image in pixels[0]}) == len(pixels[0])
