"""Retrieval: a recall@k beyond the data fails after all the work.

clip_benchmark 1.6.2 passes `--recall_k` to `topk` at the end: with fewer images or captions than k
that is "RuntimeError: selected index k out of range". A data set with labels instead of captions
fails while iterating over a number. To see the first: its `zeroshot_retrieval.evaluate` on four
images with `recall_k_list=[5]`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor

from open_clip_mmrl.errors import UsageError


def check_recall(original: Callable[..., dict[str, float]]) -> Callable[..., Any]:
    """Wrap `zeroshot_retrieval.evaluate` with a check of k against the number of images."""

    @functools.wraps(original)
    def evaluate(
        model: Any,
        dataloader: Iterable[Any],
        tokenizer: Any,
        device: str,
        amp: bool = True,
        recall_k_list: Sequence[int] = (5,),
    ) -> dict[str, float]:
        batches = counted(dataloader, recall_k_list)
        return original(model, batches, tokenizer, device, amp=amp, recall_k_list=recall_k_list)

    return evaluate


def counted(batches: Iterable[Any], recall_k: Sequence[int]) -> Iterator[Any]:
    """Yield the same batches; raise ValueError after the last if k is more than there are."""
    if min(recall_k) < 1:
        raise UsageError(f"--recall_k {min(recall_k)}: give 1 or more.")
    images = texts = 0
    for pictures, captions in batches:
        require_captions(captions)
        images += len(pictures)
        texts += sum(map(len, captions))
        yield pictures, captions
    if not images:
        raise ValueError("there are no images to retrieve.")
    for count, what in ((images, "images"), (texts, "captions")):
        if max(recall_k) > count:
            raise ValueError(f"--recall_k {max(recall_k)} is more than the {count} {what}.")


def require_captions(captions: Any) -> None:
    """Raise UsageError where a data set has labels instead of captions."""
    if isinstance(captions, Tensor):
        raise UsageError(
            "this task needs captions, but the data set has labels: choose --task "
            "zeroshot_classification."
        )
