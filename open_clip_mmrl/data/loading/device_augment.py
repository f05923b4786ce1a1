"""Random resized crops, flips and normalization of a whole batch at once, on the model's device.

Meant for GPUs: on a CPU the classic pipeline is faster. The draws are `train_transform`'s, one by
one; the arithmetic is PIL's bicubic resampling (Keys' kernel with a = -1/2, stretched where
the crop is shrunk, cut off at the crop's borders) as two batched matrix products.

Shapes: B crops, padded to H x W pixels, become h x w pixels, the model's input size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision import transforms

from ...config import CACHE_GB, TrainConfig
from ..example import Example
from .cache import decoded
from .images import ImageSet, seeded, train_transform

_MAX_PIXELS = 2**24  # of one canvas, padding and all: 200 MB as float32


class Crop(NamedTuple):
    """A crop of an image, in pixels, and whether it is flipped left to right."""

    top: int
    left: int
    height: int
    width: int
    flipped: bool


def training_images(
    model: nn.Module,
    examples: Sequence[Example],
    config: TrainConfig,
    cache_gb: float = CACHE_GB,
) -> ImageSet:
    """Return the images that a run trains on, augmented as its config says.

    Args:
        model: whose preprocessing and device are used.
        examples: the run's training examples.
        config: `augment`, `flip` and `seed` of it.
        cache_gb: bound on the decoded images kept in memory, in 10^9 bytes.

    Raises:
        UsageError: `cache_gb` is negative or not a finite number.
    """
    transform = train_transform(model, config.flip)
    if config.augment == "classic":
        return ImageSet(examples, transform, config.seed, cache_gb)
    device = next(model.parameters()).device
    return DeviceImages(examples, transform, config.seed, cache_gb, device)


class DeviceImages(ImageSet):
    """An ImageSet whose batches are made on a device: same draws, same pixels but for rounding.

    Decoded images that are kept move to a GPU when there is room; workers decode the others.

    Args:
        examples, seed, cache_gb: as in `ImageSet`.
        transform: from `train_transform`, whose parameters are used.
        device: where batches are made and returned, labels too.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        transform: transforms.Compose,
        seed: int,
        cache_gb: float,
        device: torch.device,
    ) -> None:
        super().__init__(examples, transform, seed, cache_gb)
        self.device = torch.device(device)
        self._crop, *self._flips, _, normalize = transform.transforms
        self._mean = torch.tensor(normalize.mean, device=self.device).view(3, 1, 1)
        self._std = torch.tensor(normalize.std, device=self.device).view(3, 1, 1)

    def batches(
        self, order: list[list[int]], workers: int = 0, epoch: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what `loader` does, where an error may be buried in a worker's traceback."""
        self.cache.fill(workers)
        self.cache.settle(self.device)
        missing = [[i for i in batch if i >= len(self.cache)] for batch in order]
        helpers = workers if any(missing) else 0
        for batch, read in zip(order, decoded(self.examples, missing, helpers), strict=True):
            rest = iter(read)
            kept = (self.cache.get(i) for i in batch)
            images = [next(rest) if pixels is None else pixels for pixels in kept]
            labels = torch.tensor([self.examples[i].label for i in batch])
            yield self._augment(images, self.draw(batch, images, epoch)), _to(labels, self.device)

    def draw(self, indices: Sequence[int], images: Sequence[Tensor], epoch: int) -> list[Crop]:
        """Draw what `load` draws for each of these; images [height, width, 3] for their size."""
        assert self.seed is not None
        crops = []
        for index, image in zip(indices, images, strict=True):
            pixels = image.permute(2, 0, 1)  # [3, height, width]
            with seeded(self.seed, epoch, index):
                box = self._crop.get_params(pixels, self._crop.scale, self._crop.ratio)
                flipped = any(bool(torch.rand(1) < flip.p) for flip in self._flips)
            top, left, height, width = box
            crops.append(Crop(top, left, height, width, flipped))
        return crops

    def _augment(self, images: list[Tensor], crops: list[Crop]) -> Tensor:
        """Crop, flip, resize and normalize -> [B, 3, h, w]."""
        parts = []
        for part in _groups(crops):
            canvas = _canvas(images[part], crops[part], self.device)
            numbers = _to(torch.tensor(crops[part]), self.device)  # [B, 5]
            heights, widths, flipped = numbers[:, 2:].unbind(1)
            parts.append(resized(canvas, heights, widths, flipped, self._crop.size))
        pixels = torch.cat(parts) if len(parts) > 1 else parts[0]
        return pixels.div_(255).sub_(self._mean).div_(self._std)


def _groups(crops: Sequence[Crop]) -> Iterator[slice]:
    """Neighbors that share one canvas: one huge image must not pad a whole batch to its size."""
    first, height, width = 0, 0, 0
    for index, crop in enumerate(crops):
        height, width = max(height, crop.height), max(width, crop.width)
        if index > first and (index + 1 - first) * height * width > _MAX_PIXELS:
            yield slice(first, index)
            first, height, width = index, crop.height, crop.width
    yield slice(first, len(crops))


def _canvas(images: Sequence[Tensor], crops: Sequence[Crop], device: torch.device) -> Tensor:
    """Crops side by side in uint8 [B, H, W, 3], each in its upper left corner.

    Pixels outside of a crop are not initialized: their weight is 0.
    """
    shape = (len(crops), max(c.height for c in crops), max(c.width for c in crops), 3)
    resident = any(image.is_cuda for image in images)
    canvas = torch.empty(
        shape,
        dtype=torch.uint8,
        device=device if resident else None,
        pin_memory=device.type == "cuda" and not resident,
    )
    for place, image, (top, left, height, width, _) in zip(canvas, images, crops, strict=True):
        place[:height, :width] = image[top : top + height, left : left + width]
    return canvas.to(device, non_blocking=True)


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a small CPU tensor to a device, without waiting for it."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def resized(
    canvas: Tensor, heights: Tensor, widths: Tensor, flipped: Tensor, size: Sequence[int]
) -> Tensor:
    """Resize crops as PIL does, first across, then down, each rounded and clipped to 0 .. 255.

    Pillow from 13 on (python-pillow/Pillow#9549) begins with down where that reduces the height by
    more than twice what the width loses; there the two differ by a rounding, and by more where
    values are clipped.

    Args:
        canvas: crops in their upper left corners, uint8 [B, H, W, 3].
        heights: of the crops, in pixels, [B].
        widths: of the crops, in pixels, [B].
        flipped: [B], not 0 where a crop is flipped left to right.
        size: (h, w).

    Returns:
        [B, 3, h, w], whole numbers 0 .. 255 as float32.
    """
    across = weights(widths, size[1], canvas.shape[2], flipped)
    down = weights(heights, size[0], canvas.shape[1], torch.zeros_like(flipped))
    rows = canvas.transpose(2, 3).to(torch.float32, memory_format=torch.contiguous_format)
    with torch.autocast(canvas.device.type, enabled=False):
        rows = _whole(rows.flatten(1, 2) @ across.mT)  # [B, H * 3, w]
        both = _whole(down @ rows.view(len(canvas), -1, 3 * size[1]))  # [B, h, 3 * w]
    return both.unflatten(2, (3, size[1])).transpose(1, 2).contiguous()


def _whole(values: Tensor) -> Tensor:
    return values.round_().clamp_(0, 255)


def weights(lengths: Tensor, size: int, padded: int, flipped: Tensor) -> Tensor:
    """Return how much of each source pixel goes into each target pixel, [B, size, padded].

    Args:
        lengths: how many of the source pixels are the crop's, [B]; the others get 0.
        size: target pixels.
        padded: source pixels.
        flipped: [B], not 0 to write the result backwards.
    """
    lengths, flipped = lengths.view(-1, 1, 1), flipped.view(-1, 1, 1)
    scale = lengths / size
    target = torch.arange(size, device=lengths.device).view(1, -1, 1)
    center = (torch.where(flipped != 0, size - 1 - target, target) + 0.5) * scale
    source = torch.arange(padded, device=lengths.device)
    found = _bicubic((source + 0.5 - center) / scale.clamp(min=1)) * (source < lengths)
    return found / found.sum(dim=2, keepdim=True)


def _bicubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel, a = -1/2 (IEEE Trans. ASSP 29, 1981); 0 from 2 on."""
    x = x.abs().clamp(max=2)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((2.5 - 0.5 * x) * x - 4) * x + 2
    return torch.where(x < 1, near, far)
