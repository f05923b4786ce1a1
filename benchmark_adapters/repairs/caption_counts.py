"""Image-caption selection: uneven numbers of captions fail without a reason, or mix captions up.

clip_benchmark 1.6.2 takes the number of captions from the first image of a batch and reshapes the
text features of all of them by it. To see it: its `image_caption_selection.evaluate` on two images,
one with two captions and one with one, is "RuntimeError: shape '[2, 2, -1]' is invalid" (or, where
the number of features happens to fit, a wrong score).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .retrieval_recall import require_captions


def check_captions(original: Callable[..., dict[str, float]]) -> Callable[..., Any]:
    """Wrap `image_caption_selection.evaluate` with a check of the number of captions."""

    @functools.wraps(original)
    def evaluate(
        model: Any, dataloader: Iterable[Any], tokenizer: Any, device: str, amp: bool = True
    ) -> dict[str, float]:
        return original(model, even(dataloader), tokenizer, device, amp=amp)

    return evaluate


def even(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the same batches; raise ValueError where images have different numbers of captions."""
    for pictures, captions in batches:
        require_captions(captions)
        counts = sorted({len(texts) for texts in captions})
        if len(counts) > 1:
            raise ValueError(
                "image_caption_selection needs the same number of captions for every image: there "
                f"are images with {counts[0]} and with {counts[-1]}. --task zeroshot_retrieval "
                "takes any number."
            )
        yield pictures, captions
