"""AdamW, its learning rate per epoch, and the steps it took."""

import math

import pytest
import torch
from helpers.tiny import tiny_mmrl

from open_clip_mmrl import TrainConfig
from open_clip_mmrl.training.optim import adamw, learning_rate, set_learning_rate, steps_taken

BOTH = pytest.mark.parametrize("on_gpu", [False, True], ids=["cpu's", "gpu's"])


def step(optimizer, learner):
    for index, parameter in enumerate(learner.parameters()):
        parameter.grad = torch.full_like(parameter, 0.1 * (index + 1))
    optimizer.step()


def test_learning_rate_follows_the_released_schedule():
    config = TrainConfig(epochs=10, lr=1e-3)
    assert learning_rate(config, 0) == 1e-5
    assert learning_rate(config, 1) == pytest.approx(1e-3)
    for epoch in range(1, 10):
        expected = 1e-3 * (1 + math.cos(math.pi * (epoch - 1) / 10)) / 2
        assert learning_rate(config, epoch) == pytest.approx(expected, rel=1e-12)


def test_a_single_epoch_has_no_warm_up():
    assert learning_rate(TrainConfig(epochs=1, lr=2e-3), 0) == 2e-3


@BOTH
def test_optimizer_equals_torch_adamw_on_every_device(on_gpu):
    """That of a GPU, fused and with its rate as a float32 tensor, runs on the CPU too."""
    config = TrainConfig(weight_decay=0.1, betas=(0.8, 0.95))
    learner, other = tiny_mmrl().learner.float(), tiny_mmrl().learner.float()
    ours = adamw(learner, config, on_gpu)
    theirs = torch.optim.AdamW(other.parameters(), betas=(0.8, 0.95), weight_decay=0.1)
    for rate in (1e-2, 1e-2, 3e-3):
        set_learning_rate(ours, rate)
        theirs.param_groups[0]["lr"] = rate
        step(ours, learner), step(theirs, other)
    for found, expected in zip(learner.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_learning_rate_of_a_gpu_is_always_the_same_tensor():
    """A recorded step reads it where it was at the recording."""
    optimizer = adamw(tiny_mmrl().learner.float(), TrainConfig(lr=0.5), on_gpu=True)
    rate = optimizer.param_groups[0]["lr"]
    assert rate == 0.5
    set_learning_rate(optimizer, 0.25)
    assert optimizer.param_groups[0]["lr"] is rate and rate == 0.25


@BOTH
def test_steps_are_counted(on_gpu):
    learner = tiny_mmrl().learner.float()
    optimizer = adamw(learner, TrainConfig(), on_gpu)
    for taken in range(3):
        assert steps_taken(optimizer) == taken
        step(optimizer, learner)
