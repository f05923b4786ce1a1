"""Image-caption selection: the same number of captions for every image."""

import pytest
import torch
from helpers.upstream import still_broken

from benchmark_adapters import seam
from benchmark_adapters.repairs.caption_counts import even
from open_clip_mmrl.errors import UsageError

UNEVEN = [(torch.zeros(2, 3, 32, 32), [["a", "b"], ["c"]])]


def test_uneven_numbers_of_captions_are_refused():
    with pytest.raises(ValueError, match=r"images with 1 and with 2\. --task zeroshot_retrieval"):
        list(even(UNEVEN))


def test_labels_instead_of_captions():
    data = [(torch.zeros(2, 3), torch.tensor([0, 1]))]
    with pytest.raises(UsageError, match="needs captions, but the data set has labels"):
        list(even(data))


class Pixels:
    """A model with three features for everything."""

    def encode_image(self, images):
        return images.mean((2, 3))

    def encode_text(self, tokens):
        return torch.ones(len(tokens), 3)


def test_clip_benchmark_reshapes_by_the_first_image():
    evaluate = seam.original(seam.SELECTION, "evaluate")
    with still_broken("caption_counts", RuntimeError, r"shape '\[2, 2, -1\]' is invalid"):
        evaluate(Pixels(), UNEVEN, lambda texts: torch.zeros(len(texts)), "cpu", amp=False)
