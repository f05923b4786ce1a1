"""Batches and augmentation: every draw follows from its seed, epoch and index alone."""

import numpy as np
import pytest
import torch
from helpers.images import MEAN, STD, model, picture
from hypothesis import given
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from open_clip_mmrl.data.example import Example
from open_clip_mmrl.data.loading.images import (
    ImageSet,
    epoch_batches,
    eval_transform,
    in_order,
    loader,
    train_transform,
)
from open_clip_mmrl.utils.seeds import mix_seed


@pytest.fixture
def examples():
    return [Example(image=np.asarray(picture(i)), label=i % 3) for i in range(6)]


# Transforms.


def test_eval_transform_is_open_clip_s_own():
    cfg = PreprocessCfg(size=16, mean=MEAN, std=STD, resize_mode="shortest")
    theirs = image_transform_v2(cfg, is_train=False)
    assert torch.equal(eval_transform(model())(picture()), theirs(picture()))


@pytest.mark.parametrize("size", [16, (16, 16), (24, 16)])
@pytest.mark.parametrize("shape", [(30, 20), (8, 40), (16, 16)])
def test_sizes(size, shape):
    wanted = (3, 16, 16) if size == 16 else (3, *size)
    for transform in (eval_transform(model(size=size)), train_transform(model(size=size))):
        result = transform(picture(0, *shape))
        assert result.shape == wanted and result.dtype == torch.float32


@pytest.mark.parametrize("value", [0, 255])
def test_normalization_is_the_model_s(value):
    plain = Image.new("RGB", (32, 32), (value,) * 3)
    expected = [(value / 255 - m) / s for m, s in zip(MEAN, STD, strict=True)]
    for transform in (eval_transform(model()), train_transform(model())):
        found = transform(plain)
        for channel, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(channel, torch.full_like(channel, wanted))


def test_train_transform_is_the_released_one():
    crop, flip, *_ = train_transform(model()).transforms
    assert isinstance(crop, transforms.RandomResizedCrop)
    assert tuple(crop.scale) == (0.5, 1.0) and tuple(crop.ratio) == (3 / 4, 4 / 3)
    assert crop.interpolation is InterpolationMode.BICUBIC
    assert isinstance(flip, transforms.RandomHorizontalFlip) and flip.p == 0.5


@pytest.mark.parametrize(("flip", "kinds"), [(True, 2), (False, 1)])
def test_flips_can_be_turned_off(flip, kinds):
    """A picture that is dark on the left: its darker half tells whether it was turned."""
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:, 8:] = 255
    transform = train_transform(model(), flip=flip)
    torch.manual_seed(0)
    turned = set()
    for _ in range(30):
        result = transform(Image.fromarray(pixels))
        turned.add(bool(result[..., :2].mean() > result[..., -2:].mean()))
    assert len(turned) == kinds


# Draws.


def draw(images, epoch, batches, workers=0):
    return list(loader(images, batches, workers, epoch))


def test_draws_follow_from_seed_epoch_and_index(examples):
    transform = train_transform(model())
    images = ImageSet(examples, transform, seed=7)
    first = [images.load(i)[0] for i in range(6)]
    torch.manual_seed(123)
    torch.rand(5)
    for i in reversed(range(6)):  # in any order, whatever was drawn before
        assert torch.equal(images.load(i)[0], first[i])
        assert torch.equal(ImageSet(examples, transform, seed=7).load(i)[0], first[i])
    assert all(not torch.equal(images.load(i, 1)[0], first[i]) for i in range(6))
    assert all(torch.equal(images.load(i, 0)[0], first[i]) for i in range(6))
    other = ImageSet(examples, transform, seed=8)
    assert all(not torch.equal(other.load(i)[0], first[i]) for i in range(6))


def test_the_same_picture_is_drawn_differently_at_another_index(examples):
    images = ImageSet([examples[0]] * 2, train_transform(model()), seed=7)
    assert not torch.equal(images.load(0)[0], images.load(1)[0])


def test_the_global_generator_is_not_touched(examples):
    images = ImageSet(examples, train_transform(model()), seed=7)
    before = torch.get_rng_state()
    images.load(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_make_no_difference(examples):
    images = ImageSet(examples, train_transform(model()), seed=7)
    for epoch in (0, 1):
        batches = epoch_batches(6, 2, seed=7, epoch=epoch)
        alone, helped = draw(images, epoch, batches), draw(images, epoch, batches, workers=2)
        assert len(alone) == len(helped) == 3
        for (a, labels_a), (b, labels_b) in zip(alone, helped, strict=True):
            assert torch.equal(a, b) and torch.equal(labels_a, labels_b)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kept", [2, 6])
def test_what_is_kept_in_memory_makes_no_difference(examples, tmp_path, kept, workers):
    for index, example in enumerate(examples):
        Image.fromarray(example.image).save(tmp_path / f"{index}.jpg")
    files = [Example(image=tmp_path / f"{i}.jpg", label=i % 3) for i in range(6)]
    transform = train_transform(model())
    read = ImageSet(files, transform, seed=7)
    held = ImageSet(files, transform, seed=7, cache_gb=kept * 30 * 20 * 3 / 1e9)
    batches = epoch_batches(6, 2, seed=7, epoch=0)
    expected = [draw(read, epoch, batches) for epoch in (0, 1)]
    for epoch in (0, 1):
        found = draw(held, epoch, batches, workers)
        assert len(held.cache) == kept and len(read.cache) == 0
        assert len(found) == 3
        for (a, labels_a), (b, labels_b) in zip(found, expected[epoch], strict=True):
            assert torch.equal(a, b) and torch.equal(labels_a, labels_b)
        for file in files[:kept]:  # the second time they are not read any more
            file.image.unlink(missing_ok=True)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cache_gb", [0, 1])
def test_an_unreadable_image_is_named(examples, tmp_path, cache_gb, workers):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    bad = [*examples, Example(image=tmp_path / "bad.jpg", label=0)]
    images = ImageSet(bad, train_transform(model()), seed=7, cache_gb=cache_gb)
    with pytest.raises(ValueError, match=r"^image .*bad\.jpg cannot be read \(not an image"):
        draw(images, 0, [[0, 6]], workers)


def test_without_a_seed_only_the_transform_is_applied(examples):
    transform = eval_transform(model())
    images = ImageSet(examples, transform)
    assert len(images) == 6
    pixels, labels = next(iter(loader(images, [[4, 1]])))
    assert pixels.shape == (2, 3, 16, 16) and labels.tolist() == [1, 1]
    assert torch.equal(pixels[0], transform(picture(4)))


# Batches.


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**31), st.integers(0, 300))
def test_rules_of_training_batches(count, size, seed, epoch):
    batches = epoch_batches(count, size, seed, epoch)
    indices = [i for batch in batches for i in batch]
    assert len(set(indices)) == len(indices) and set(indices) <= set(range(count))
    if count < size:
        assert [len(batch) for batch in batches] == [count]
    else:
        assert [len(batch) for batch in batches] == [size] * (count // size)
    assert epoch_batches(count, size, seed, epoch) == batches


@pytest.mark.parametrize(
    ("count", "size", "lengths"),
    [(10, 4, [4, 4]), (8, 4, [4, 4]), (3, 4, [3]), (4, 4, [4]), (5, 4, [4]), (2, 1, [1, 1])],
)
def test_the_last_incomplete_batch_is_dropped_unless_it_is_the_only_one(count, size, lengths):
    assert [len(batch) for batch in epoch_batches(count, size, 1, 0)] == lengths


def test_order_changes_with_seed_and_epoch():
    orders = {
        (seed, epoch): tuple(epoch_batches(50, 50, seed, epoch)[0])
        for seed in (1, 2, 3)
        for epoch in range(4)
    }
    assert len(set(orders.values())) == len(orders)
    assert tuple(range(50)) not in orders.values()


def test_a_dropped_image_is_used_in_another_epoch():
    seen = set()
    for epoch in range(10):
        seen.update(i for batch in epoch_batches(5, 4, 1, epoch) for i in batch)
    assert seen == set(range(5))


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (5, 2, [[0, 1], [2, 3], [4]]),
        (4, 2, [[0, 1], [2, 3]]),
        (1, 8, [[0]]),
        (0, 8, []),
    ],
)
def test_in_order(count, size, expected):
    assert in_order(count, size) == expected


# Seeds.


def test_mixed_seeds_are_63_bits_and_all_different():
    numbers = range(12)
    seeds = {mix_seed(a, b, c) for a in numbers for b in numbers for c in numbers}
    assert len(seeds) == 12**3
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len({mix_seed(1), mix_seed(1, 0), mix_seed(0, 1), mix_seed(1, 0, 0)}) == 4


def test_neighboring_seeds_share_no_pattern():
    """About half of the 63 bits change from one number to the next."""
    for position in range(3):
        changes = []
        for n in range(200):
            a, b = [5, 6, 7], [5, 6, 7]
            a[position], b[position] = n, n + 1
            changes.append((mix_seed(*a) ^ mix_seed(*b)).bit_count())
        assert 30 < sum(changes) / len(changes) < 33
        assert min(changes) > 12


def test_mixed_seeds_are_pinned():
    # Changing these changes every run that was ever made: say so in the changelog.
    assert mix_seed() == 0
    # First output of splitmix64 for the state 0, less its last bit.
    assert mix_seed(0) == 0xE220A8397B1DCDAF >> 1
    torch.Generator().manual_seed(mix_seed(1, 2, 3))  # torch takes them


@pytest.mark.parametrize("flip", [True, False])
def test_draws_are_those_of_a_seeded_global_generator(examples, flip):
    """What adapters of earlier versions were trained on."""
    transform = train_transform(model(), flip)
    images = ImageSet(examples, transform, seed=3)
    for index in range(6):
        found, _ = images.load(index, epoch=2)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(mix_seed(3, 2, index))
            assert torch.equal(found, transform(picture(index)))


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_does_not_touch_the_global_generator(examples, workers):
    images = ImageSet(examples, train_transform(model()), seed=3)
    before = torch.get_rng_state()
    assert len(list(loader(images, [[0, 1], [2]], workers))) == 2
    assert torch.equal(torch.get_rng_state(), before)
