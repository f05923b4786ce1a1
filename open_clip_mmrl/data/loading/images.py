"""From examples to batches: decoding, augmentation, order. Every random choice has its own seed.

Shapes: B images, H x W the model's input size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from open_clip.model import get_model_preprocess_cfg
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from ...utils.seeds import DrawFrom, mix_seed
from ..example import Example, read_image
from .cache import ImageCache

Transform = Callable[[Image.Image], Tensor]
EVAL_BATCH = 100
"""Images at a time where nothing is trained; the paper measures its speed with this size."""


def preprocess_config(model: nn.Module) -> PreprocessCfg:
    """Return open_clip's preprocessing of this model's images."""
    return PreprocessCfg(**get_model_preprocess_cfg(model))


def eval_transform(model: nn.Module) -> Transform:
    """Return open_clip's own transform for this model: resize (bicubic), center crop, normalize."""
    # open_clip's type allows for what it returns in training only.
    return cast("Transform", image_transform_v2(preprocess_config(model), is_train=False))


def train_transform(model: nn.Module, flip: bool = True) -> transforms.Compose:
    """Return the training transform: random resized crop, horizontal flip, normalize.

    The crop's scale is 0.5 to 1, its resampling bicubic. Source: the released code's
    configuration files; the paper follows CoOp.
    """
    cfg = preprocess_config(model)
    crop = transforms.RandomResizedCrop(
        cfg.size, scale=(0.5, 1.0), interpolation=InterpolationMode.BICUBIC
    )
    steps = [crop, *([transforms.RandomHorizontalFlip()] if flip else [])]
    return transforms.Compose(
        [*steps, transforms.ToTensor(), transforms.Normalize(cfg.mean, cfg.std)]
    )


def seeded(*numbers: int) -> DrawFrom:
    """Return a context in which torchvision draws by these numbers alone."""
    return DrawFrom(torch.Generator().manual_seed(mix_seed(*numbers)))


class ImageSet:
    """Examples and their transform; in training each draw depends on (seed, epoch, index) alone.

    So a run gives the same images with any number of workers, however many of them are kept in
    memory, and after a resume.

    Args:
        examples: what is read.
        transform: from a decoded image to a tensor [3, H, W].
        seed: of the draws; None where the transform draws nothing.
        cache_gb: bound on the decoded images kept from the first pass on, in 10^9 bytes; the
            others are read each time.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        transform: Transform,
        seed: int | None = None,
        cache_gb: float = 0,
    ) -> None:
        self.examples = examples
        self.transform = transform
        self.seed = seed
        self.cache = ImageCache(examples, cache_gb)

    def __len__(self) -> int:
        return len(self.examples)

    def load(self, index: int, epoch: int = 0) -> tuple[Tensor, int]:
        """Return the transformed image [3, H, W] and its label, as drawn in this epoch."""
        example = self.examples[index]
        pixels = self.cache.get(index)
        image = read_image(example) if pixels is None else Image.fromarray(pixels.cpu().numpy())
        if self.seed is None:
            return self.transform(image), example.label
        with seeded(self.seed, epoch, index):
            return self.transform(image), example.label

    def batches(
        self, order: list[list[int]], workers: int = 0, epoch: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what `loader` does, where an error may be buried in a worker's traceback."""
        self.cache.fill(workers)
        yield from DataLoader(
            _Epoch(self, epoch),
            batch_sampler=order,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # so that the global one is not drawn from
        )


class _Epoch(Dataset):
    """One epoch of an `ImageSet`."""

    def __init__(self, images: ImageSet, epoch: int) -> None:
        self.images, self.epoch = images, epoch

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images.load(index, self.epoch)


def epoch_batches(count: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return shuffled batches of indices; drop an incomplete last one unless it is the only."""
    generator = torch.Generator().manual_seed(mix_seed(seed, epoch))
    order = torch.randperm(count, generator=generator).tolist()
    batches = [order[i : i + batch_size] for i in range(0, count, batch_size)]
    if len(batches) > 1 and len(batches[-1]) < batch_size:
        batches.pop()
    return batches


def loader(
    images: ImageSet, batches: list[list[int]], workers: int = 0, epoch: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images [B, 3, H, W] float32, labels [B]) for the given batches of indices.

    Args:
        images: what is read.
        batches: indices, as from `epoch_batches` or `in_order`.
        workers: processes that decode; 0 decodes in this one.
        epoch: decides the draws of the augmentation, together with the seed of `images`.

    Raises:
        ValueError: an image that cannot be read; the message names it.
    """
    try:
        yield from images.batches(batches, workers, epoch)
    except ValueError as error:
        if not workers:
            raise
        # A worker wraps the message into its traceback; the last line is the message.
        message = str(error).strip().splitlines()[-1].removeprefix("ValueError: ")
        # Without its frames, which would keep the workers waiting for the garbage collector.
        raise ValueError(message) from error.with_traceback(None)


def in_order(count: int, batch_size: int = EVAL_BATCH) -> list[list[int]]:
    """Return all indices in order, in batches; the last may be smaller."""
    return [list(range(i, min(i + batch_size, count))) for i in range(0, count, batch_size)]
