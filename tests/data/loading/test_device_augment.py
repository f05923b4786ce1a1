"""Batches made on a device: torchvision's boxes and flips, PIL's pixels."""

import numpy as np
import pytest
import torch
from helpers.images import model, picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from open_clip_mmrl.config import TrainConfig
from open_clip_mmrl.data.example import Example
from open_clip_mmrl.data.loading import device_augment as augment
from open_clip_mmrl.data.loading.device_augment import (
    Crop,
    DeviceImages,
    resized,
    training_images,
    weights,
)
from open_clip_mmrl.data.loading.images import ImageSet, epoch_batches, loader, train_transform
from open_clip_mmrl.errors import UsageError

CPU = torch.device("cpu")
SHAPES = [(8, 8), (9, 31), (70, 5), (90, 61), (33, 33), (120, 64), (40, 100), (1, 3)]
"""Shrunk, enlarged, odd, and so narrow that the crop falls back to the center."""


def noise(shapes=SHAPES, gray=False):
    random = np.random.default_rng(0)
    return [
        Example(
            image=random.integers(0, 256, shape if gray else (*shape, 3), dtype=np.uint8),
            label=index,
        )
        for index, shape in enumerate(shapes)
    ]


def smooth(shapes=SHAPES):
    """Waves a few pixels long, as in photographs: nothing is clipped on the way."""
    found = []
    for index, (height, width) in enumerate(shapes):
        y, x = np.mgrid[:height, :width]
        waves = [127 + 100 * np.sin(x / (5 + c) + y / 4 + index) for c in range(3)]
        found.append(Example(image=np.stack(waves, -1).astype(np.uint8), label=index))
    return found


def on_device(examples, seed=7, cache_gb=0, flip=True, size=24, device=CPU):
    transform = train_transform(model(size=size), flip)
    return DeviceImages(examples, transform, seed, cache_gb, device)


def batch(images, indices=None, epoch=0, workers=0):
    ((pixels, labels),) = loader(images, [indices or list(range(len(images)))], workers, epoch)
    assert pixels.dtype == torch.float32
    return pixels, labels


def levels(pixels, images):
    """Normalized images as values of 0 .. 255."""
    return 255 * (pixels * images._std + images._mean)


def drawn(images, indices, epoch=0):
    shapes = [images.examples[i].image.shape[:2] for i in indices]
    return images.draw(indices, [torch.empty(*shape, 3) for shape in shapes], epoch)


def by_pil(example, crop, size):
    """The crop resized by PIL in two steps, first across, then down; [3, h, w]."""
    pixels = Image.fromarray(example.image).convert("RGB")
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    across = pixels.crop(box).resize((size[1], crop.height), Image.Resampling.BICUBIC)
    both = np.array(across.resize((size[1], size[0]), Image.Resampling.BICUBIC))
    return torch.from_numpy(both[:, ::-1].copy() if crop.flipped else both).permute(2, 0, 1)


# Agreement with the classic pipeline.


@pytest.mark.parametrize("size", [16, 40, 64, (24, 17)])
@pytest.mark.parametrize("flip", [True, False])
def test_agrees_with_torchvision(size, flip):
    """Same boxes, same flips; where Pillow begins with the height, another rounding between."""
    transform = train_transform(model(size=size), flip)
    examples = smooth()
    images = on_device(examples, size=size, flip=flip)
    theirs = ImageSet(examples, transform, seed=7)
    for epoch in range(3):
        (ours, labels), (expected, same) = batch(images, epoch=epoch), batch(theirs, epoch=epoch)
        assert ours.shape == expected.shape and torch.equal(labels, same)
        difference = (levels(ours, images) - levels(expected, images)).abs()
        assert difference.mean() < 0.2 and difference.max() < 2.5


@pytest.mark.parametrize("size", [16, 40, (24, 17), (17, 64)])
@pytest.mark.parametrize("examples", [noise(), noise(gray=True), smooth()])
def test_agrees_with_pil_in_every_pixel(size, examples):
    """Noise from 0 to 255 overshoots everywhere, so rounding and clipping have to be PIL's too."""
    images = on_device(examples, size=size)
    for epoch in range(3):
        found = levels(batch(images, epoch=epoch)[0], images)
        crops = drawn(images, range(len(examples)), epoch)
        pairs = zip(examples, crops, strict=True)
        wanted = torch.stack([by_pil(*pair, images._crop.size) for pair in pairs])
        difference = (found - wanted).abs()
        # A tie may be rounded either way: PIL counts in fixed point, we in float32.
        assert difference.mean() < 0.005 and difference.max() < 2.5


def test_boxes_and_flips_vary_and_stay_inside():
    examples = noise([(50, 40)] * 60)
    images = on_device(examples)
    crops = drawn(images, range(60))
    assert len(set(crops)) == 60 and {crop.flipped for crop in crops} == {True, False}
    assert not any(crop.flipped for crop in drawn(on_device(examples, flip=False), range(60)))
    for crop in crops:
        assert 0 <= crop.top <= 50 - crop.height and 0 <= crop.left <= 40 - crop.width
        assert 0.45 * 2000 < crop.height * crop.width <= 2000


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_any_crop_is_resized_as_pil_does(height, width, h, w, flipped):
    """Whatever the canvas holds outside of the crop."""
    example = Example(image=np.asarray(picture(0, height, width)), label=0)
    canvas = torch.full((1, height + 3, width + 2, 3), 255, dtype=torch.uint8)
    canvas[0, :height, :width] = torch.from_numpy(example.image.copy())
    numbers = [torch.tensor([n]) for n in (height, width, int(flipped))]
    found = resized(canvas, *numbers, (h, w))[0]
    wanted = by_pil(example, Crop(0, 0, height, width, flipped), (h, w))
    assert (found - wanted).abs().max() <= 2


def test_outer_autocast_does_not_matter():
    images = on_device(noise())
    expected = batch(images)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(batch(images)[0], expected)


# Weights.


@pytest.mark.parametrize("size", [1, 5, 16, 40])
def test_weights_sum_to_one_within_the_crop(size):
    lengths, straight = torch.tensor([3, 16, 37]), torch.zeros(3, dtype=torch.long)
    found = weights(lengths, size, 40, straight)
    assert found.shape == (3, size, 40)
    torch.testing.assert_close(found.sum(dim=2), torch.ones(3, size))
    for row, length in zip(found, lengths.tolist(), strict=True):
        assert not row[:, length:].any() and row[:, length - 1].any()
    torch.testing.assert_close(weights(lengths, size, 40, straight + 1), found.flip(1))


def test_weights_of_an_unchanged_length_change_nothing():
    found = weights(torch.tensor([7]), 7, 9, torch.tensor([0]))
    assert torch.equal(found[0, :, :7], torch.eye(7)) and not found[0, :, 7:].any()


def test_weights_of_a_doubled_length_are_the_kernel_s():
    """Keys' kernel with a = -1/2 at distances 1/4, 3/4, 5/4 and 7/4."""
    near, far = [111 / 128, 29 / 128], [-9 / 128, -3 / 128]
    found = weights(torch.tensor([8]), 16, 8, torch.tensor([0]))
    assert found[0, 8, 2:6].tolist() == pytest.approx([far[1], near[1], near[0], far[0]])


# Draws, order, memory.


def test_draws_follow_from_seed_epoch_and_index():
    examples = [Example(image=np.asarray(picture(i)), label=i) for i in range(6)]
    images = on_device(examples)
    first = drawn(images, range(6))
    torch.rand(5)
    assert drawn(images, [4, 1]) == [first[4], first[1]]
    assert all(a != b for a, b in zip(drawn(images, range(6), 1), first, strict=True))
    other = on_device(examples, seed=8)
    assert all(a != b for a, b in zip(drawn(other, range(6)), first, strict=True))


def test_the_global_generator_is_not_touched():
    images = on_device(noise(), cache_gb=1)
    before = torch.get_rng_state()
    batch(images)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kept", [0, 3, len(SHAPES)])
@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_memory_make_no_difference(kept, workers):
    examples = noise()
    limit = sum(example.image.size for example in examples[:kept]) / 1e9
    plain, images = on_device(examples), on_device(examples, cache_gb=limit)
    for epoch in (0, 1):
        order = epoch_batches(len(examples), 3, seed=1, epoch=epoch)
        found = list(loader(images, order, workers, epoch))
        expected = list(loader(plain, order, epoch=epoch))
        assert len(images.cache) == kept and len(found) == 2
        for (a, labels_a), (b, labels_b), indices in zip(found, expected, order, strict=True):
            assert torch.equal(a, b) and torch.equal(labels_a, labels_b)
            assert labels_a.tolist() == indices


def test_a_huge_image_has_a_canvas_of_its_own(monkeypatch):
    examples = noise([(20, 20), (20, 20), (90, 90), (20, 20), (20, 20)])
    images = on_device(examples)
    together = batch(images)[0]
    shapes, whole = [], augment.resized
    monkeypatch.setattr(augment, "_MAX_PIXELS", 3 * 20 * 20)
    monkeypatch.setattr(
        augment,
        "resized",
        lambda canvas, *rest: shapes.append(canvas.shape) or whole(canvas, *rest),
    )
    apart = batch(images)[0]
    assert [shape[0] for shape in shapes] == [2, 1, 2]
    assert all(max(shape[1:3]) <= 20 for shape in (shapes[0], shapes[2]))
    torch.testing.assert_close(levels(apart, images), levels(together, images), rtol=0, atol=1.01)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cache_gb", [0, 1])
def test_an_unreadable_image_is_named(tmp_path, cache_gb, workers):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    bad = [*noise(), Example(image=tmp_path / "bad.jpg", label=0)]
    with pytest.raises(ValueError, match=r"^image .*bad\.jpg cannot be read \(not an image"):
        batch(on_device(bad, cache_gb=cache_gb), workers=workers)


# What a run trains on.


@pytest.mark.parametrize(("word", "kind"), [("classic", ImageSet), ("device", DeviceImages)])
def test_a_run_s_images(word, kind):
    examples = smooth()
    config = TrainConfig(augment=word, flip=False, seed=5)
    images = training_images(model(), examples, config, cache_gb=0.001)
    assert type(images) is kind and images.cache.limit == 1_000_000
    expected = ImageSet(examples, train_transform(model(), flip=False), seed=5)
    torch.testing.assert_close(batch(images)[0], batch(expected)[0], rtol=0, atol=0.05)


def test_a_negative_bound_is_an_error():
    with pytest.raises(UsageError, match="cache_gb is -1; it has to be a number from 0 up"):
        training_images(model(), smooth(), TrainConfig(), cache_gb=-1)
