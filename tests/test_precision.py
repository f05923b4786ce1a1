"""Precisions and devices by name."""

import pytest
import torch

from open_clip_mmrl.config import PRECISIONS
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.precision import autocast, gradient_scaler, pick_device

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("amp_bf16", torch.bfloat16), ("amp_fp16", torch.float16)],
)
def test_autocast(precision, dtype):
    linear, x = torch.nn.Linear(3, 2), torch.zeros(1, 3)
    with autocast(precision, CPU):
        assert linear(x).dtype == dtype
    assert linear(x).dtype == torch.float32


def test_fp32_turns_off_what_was_on_around_it():
    linear, x = torch.nn.Linear(3, 2), torch.zeros(1, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16), autocast("fp32", CPU):
        assert linear(x).dtype == torch.float32


@pytest.mark.parametrize("precision", ["fp16", "bf16", "", None, "AMP_BF16"])
def test_unknown_precisions(precision):
    with pytest.raises(UsageError) as error:
        autocast(precision, CPU)
    assert f"precision is {precision!r}" in str(error.value)
    assert all(name in str(error.value) for name in PRECISIONS)


def test_a_card_without_bf16_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old Card")
    with pytest.raises(UsageError, match="Old Card has no bf16 arithmetic: use amp_fp16 or fp32"):
        autocast("amp_bf16", torch.device("cuda"))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_only_fp16_scales_its_gradients(precision):
    assert gradient_scaler(precision, CPU).is_enabled() == (precision == "amp_fp16")


@pytest.mark.parametrize("given", ["cpu", CPU])
def test_a_device_by_name(given):
    assert pick_device(given) == CPU


@pytest.mark.parametrize("given", [None, "auto"])
@pytest.mark.parametrize("has_cuda", [True, False])
def test_the_device_when_nothing_was_asked(monkeypatch, given, has_cuda):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    assert pick_device(given).type == ("cuda" if has_cuda else "cpu")


@pytest.mark.parametrize("given", ["gpu", "cuda:x", ""])
def test_unknown_devices(given):
    with pytest.raises(UsageError, match=rf"device is '{given}'; give cpu, cuda or cuda:N"):
        pick_device(given)


@pytest.mark.parametrize("given", ["cuda", "cuda:1", torch.device("cuda:0")])
def test_cuda_where_there_is_none(monkeypatch, given):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"device is 'cuda.*finds no CUDA device here; use cpu"):
        pick_device(given)
