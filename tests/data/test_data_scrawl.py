import numpy as np

from open_clip_mmrl.assets.characters import CLASSES
from open_clip_mmrl.data import load_data
from open_clip_mmrl.data.scrawl import IMAGES


def test_every_class_of_the_tiny_clip_in_both_kinds_of_halves():
    data = load_data("scrawl")
    assert sorted(data.class_names) == sorted(CLASSES) and data.num_classes >= 40
    for part, count in IMAGES.items():
        examples = getattr(data, part)
        assert np.bincount([e.label for e in examples]).tolist() == [count] * data.num_classes
        assert all(e.image.shape == (32, 32) and e.image.dtype == np.uint8 for e in examples)
    for half in ("base", "novel"):
        names = " ".join(data.select(half).class_names)
        assert all(word in names for word in ("digit", "capital letter", "small letter"))


def test_the_same_images_every_time_and_none_twice():
    first, second = load_data("scrawl"), load_data("scrawl")
    pixels = [np.stack([e.image for e in d.train + d.test]) for d in (first, second)]
    assert np.array_equal(*pixels)
    assert len(np.unique(pixels[0].reshape(len(pixels[0]), -1), axis=0)) == len(pixels[0])


def test_drawing_does_not_touch_the_global_generators():
    import torch

    torch.manual_seed(0)
    before = torch.get_rng_state()
    load_data("scrawl")
    assert torch.equal(before, torch.get_rng_state())
