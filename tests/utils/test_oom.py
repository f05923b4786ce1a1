"""What is said where a GPU's memory does not suffice; peaks are measured in test_speed."""

import pytest
import torch

from open_clip_mmrl.utils.oom import oom_hint

TOLD = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 1 GiB"


def test_too_little_gpu_memory_says_what_helps():
    with pytest.raises(ValueError) as error, oom_hint("scoring 5 images", "score fewer"):
        raise torch.OutOfMemoryError(TOLD)
    said = "out of GPU memory in scoring 5 images (CUDA out of memory): score fewer."
    assert str(error.value) == said
    assert isinstance(error.value.__cause__, torch.OutOfMemoryError)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="other") as error, oom_hint("a", "b"):
        raise RuntimeError("other")
    assert type(error.value) is RuntimeError
