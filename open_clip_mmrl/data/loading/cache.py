"""Decoded images kept in memory: a few-shot subset is small, so it is decoded once.

Shapes: H x W an image's own size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...config import CACHE_GB
from ...errors import UsageError
from ..example import Example, read_image

_BLOCK = 2**26  # bytes allocated at a time
_GPU_SHARE = 0.25  # of a GPU's free memory, at most; training needs the rest


def check_cache_gb(value: float) -> float:
    """Return the bound, checked.

    Raises:
        UsageError: it is negative or not a finite number.
    """
    if not 0 <= value < float("inf"):
        raise UsageError(
            f"cache_gb is {value!r}; it has to be a number from 0 up: how many GB of decoded "
            "training images are kept in memory at most (0 keeps none)."
        )
    return value


class _Decoded(Dataset):
    """Pixels of examples, uint8 [H, W, 3]."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.array(read_image(self.examples[index])))


def decoded(
    examples: Sequence[Example], batches: Iterable[list[int]], workers: int = 0
) -> Iterator[list[Tensor]]:
    """Yield the pixels of the examples in each batch of indices, uint8 [H, W, 3]; may be empty."""
    return iter(
        DataLoader(
            _Decoded(examples),
            batch_sampler=batches,
            collate_fn=list,
            num_workers=workers,
            generator=torch.Generator(),  # so that the global one is not drawn from
        )
    )


class ImageCache:
    """The first examples of a sequence, decoded: as many as fit within a bound.

    The parent process fills it, with workers if there are any. The pixels are stored in a few
    large blocks: forked workers inherit them without copying, spawned ones get them through shared
    memory, a handle per block, so there is one copy whatever the number of workers.

    Args:
        examples: what may be kept.
        limit_gb: bound on the memory, in 10^9 bytes; 0 keeps nothing.

    Raises:
        UsageError: a bound that is negative or not a finite number.
    """

    def __init__(self, examples: Sequence[Example], limit_gb: float = CACHE_GB) -> None:
        self.limit = int(check_cache_gb(limit_gb) * 1e9)
        self._examples = examples
        self._filled = False
        self._blocks: list[Tensor] = []
        self._used = 0  # bytes of the last block
        self._places: list[tuple[int, int, int, int]] = []  # block, first byte, H, W

    def __len__(self) -> int:
        """Return how many images are kept: those with indices below this."""
        return len(self._places)

    @property
    def nbytes(self) -> int:
        """Memory in use, in bytes."""
        return sum(map(len, self._blocks))

    def fill(self, workers: int = 0) -> None:
        """Decode until the bound is reached; a second call does nothing.

        Raises:
            ValueError: an image that cannot be read; the message names it.
        """
        if self._filled or not self.limit:
            return
        self._blocks, self._places = [], []
        one_by_one = ([index] for index in range(len(self._examples)))
        for (pixels,) in decoded(self._examples, one_by_one, workers):
            if not self._keep(pixels):
                break
        if self._blocks:
            self._blocks[-1] = self._blocks[-1][: self._used].clone()
        self._filled = True

    def _keep(self, pixels: Tensor) -> bool:
        size = pixels.numel()
        if not self._blocks or self._used + size > len(self._blocks[-1]):
            room = self.limit - self.nbytes
            if size > room:
                return False
            self._blocks.append(torch.empty(min(max(size, _BLOCK), room), dtype=torch.uint8))
            self._used = 0
        self._blocks[-1][self._used : self._used + size] = pixels.flatten()
        height, width = pixels.shape[:2]
        self._places.append((len(self._blocks) - 1, self._used, height, width))
        self._used += size
        return True

    def settle(self, device: torch.device) -> None:
        """Move everything to a GPU if it takes at most a quarter of the GPU's free memory."""
        if device.type != "cuda" or not self._blocks or self._blocks[0].is_cuda:
            return
        if self.nbytes <= _GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
            self._blocks = [block.to(device) for block in self._blocks]

    def get(self, index: int) -> Tensor | None:
        """Return an example's pixels, uint8 [H, W, 3], on any device; None if not kept."""
        if index >= len(self._places):
            return None
        block, first, height, width = self._places[index]
        return self._blocks[block][first : first + height * width * 3].view(height, width, 3)
