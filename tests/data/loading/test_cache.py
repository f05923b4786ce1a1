"""Decoded images in memory: the same pixels, within the bound, one copy for all workers."""

from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from PIL import Image

from open_clip_mmrl.data.example import Example, read_image
from open_clip_mmrl.data.loading import cache as cache_module
from open_clip_mmrl.data.loading.cache import CACHE_GB, ImageCache, check_cache_gb, decoded
from open_clip_mmrl.errors import UsageError

SHAPES = [(20, 30), (7, 5), (40, 40), (1, 3), (31, 17)]


@pytest.fixture
def examples(tmp_path):
    """JPEG files of several sizes, one of them gray, and an array."""
    random, found = np.random.default_rng(0), []
    for index, shape in enumerate(SHAPES):
        pixels = random.integers(0, 256, shape if index == 2 else (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.jpg")
        found.append(Example(image=tmp_path / f"{index}.jpg", label=index))
    return [*found, Example(image=np.full((4, 6), 9, dtype=np.uint8), label=5)]


def sizes(examples):
    return [np.asarray(read_image(example)).size for example in examples]


def assert_kept(cache, examples, count):
    assert len(cache) == count
    for index, example in enumerate(examples):
        pixels = cache.get(index)
        if index >= count:
            assert pixels is None
        else:
            assert pixels.dtype == torch.uint8
            assert np.array_equal(pixels.numpy(), np.asarray(read_image(example)))


@pytest.mark.parametrize("block", [1, 1000, 2000, 2**26])
@pytest.mark.parametrize("workers", [0, 2])
def test_pixels_are_those_of_the_images(examples, workers, block, monkeypatch):
    monkeypatch.setattr(cache_module, "_BLOCK", block)
    cache = ImageCache(examples)
    assert cache.get(0) is None and len(cache) == 0 and cache.nbytes == 0
    cache.fill(workers)
    assert_kept(cache, examples, len(examples))
    assert sum(sizes(examples)) <= cache.nbytes < sum(sizes(examples)) + 6 * block


@pytest.mark.parametrize("block", [1, 2000, 2**26])
def test_the_bound_is_kept_and_the_first_images_stay(examples, block, monkeypatch):
    monkeypatch.setattr(cache_module, "_BLOCK", block)
    whole = sum(sizes(examples)[:2])
    for limit, count in [(whole, 2), (whole - 1, 1), (whole + sizes(examples)[2] - 1, 2), (1, 0)]:
        cache = ImageCache(examples, limit / 1e9)
        cache.fill()
        assert cache.nbytes <= limit
        assert_kept(cache, examples, count)


def test_nothing_is_decoded_under_a_bound_of_0(tmp_path):
    cache = ImageCache([Example(image=tmp_path / "missing.jpg", label=0)], 0)
    cache.fill()
    assert len(cache) == 0 and cache.get(0) is None


def test_images_are_decoded_once(examples):
    expected = [np.asarray(read_image(example)) for example in examples]
    cache = ImageCache(examples)
    cache.fill()
    for example in examples[:-1]:
        example.image.unlink()
    cache.fill()
    assert all(np.array_equal(cache.get(i), pixels) for i, pixels in enumerate(expected))


def test_a_broken_image_is_named_and_can_be_repaired(examples):
    path = examples[3].image
    whole = path.read_bytes()
    path.write_bytes(b"no image")
    cache = ImageCache(examples)
    with pytest.raises(ValueError, match=r"3\.jpg cannot be read \(not an image"):
        cache.fill()
    path.write_bytes(whole)
    cache.fill()
    assert_kept(cache, examples, len(examples))


@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), float("inf")])
def test_wrong_bounds_raise(value):
    with pytest.raises(UsageError, match=rf"cache_gb is {value}; it has to be a number from 0 up"):
        ImageCache([], value)


def test_bounds():
    assert [check_cache_gb(value) for value in (0, 0.5, CACHE_GB)] == [0, 0.5, 4.0]


def test_filling_draws_nothing_from_the_global_generator(examples):
    before = torch.get_rng_state()
    ImageCache(examples).fill()
    assert torch.equal(torch.get_rng_state(), before)


def test_spawned_processes_get_handles_instead_of_pixels():
    """What spawned workers are sent."""
    examples = [Example(image=np.zeros((300, 300), dtype=np.uint8), label=0)] * 4
    cache = ImageCache(examples)
    cache.fill()
    assert cache.nbytes == 4 * 300 * 300 * 3
    whole, without = (len(ForkingPickler.dumps(x)) for x in (cache, ImageCache(examples)))
    assert whole - without < 1000


def test_decoded_batches_may_be_empty(examples):
    batches = [[4, 0], [], [1]]
    for workers in (0, 2):
        found = list(decoded(examples, batches, workers))
        assert [[tuple(p.shape) for p in batch] for batch in found] == [
            [(31, 17, 3), (20, 30, 3)],
            [],
            [(7, 5, 3)],
        ]
