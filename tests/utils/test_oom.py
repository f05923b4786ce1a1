"""The hint for errors of GPU memory; peaks are measured in test_speed."""

import pytest
import torch

from open_clip_mmrl.utils.oom import oom_hint

REASON = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 1 GiB"


def test_too_little_gpu_memory_says_what_helps():
    expected = r"out of GPU memory in scoring 5 images \(CUDA out of memory\): score fewer\."
    with (
        pytest.raises(ValueError, match=f"^{expected}$") as error,
        oom_hint("scoring 5 images", "score fewer"),
    ):
        raise torch.OutOfMemoryError(REASON)
    assert isinstance(error.value.__cause__, torch.OutOfMemoryError)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="other") as error, oom_hint("a", "b"):
        raise RuntimeError("other")
    assert type(error.value) is RuntimeError
