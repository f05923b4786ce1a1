"""Draws from a generator of one's own, where code of others draws from the global one."""

import pytest
import torch
from torch import nn

from open_clip_mmrl.utils.seeds import DrawFrom


def linear():
    layer = nn.Linear(3, 2)
    return torch.cat([layer.weight.detach().flatten(), layer.bias.detach()])


DRAWS = {
    "rand": lambda: torch.rand(3),
    "randn": lambda: torch.randn(2, 2),
    "randint": lambda: torch.randint(0, 99, size=(4,)),
    "randperm": lambda: torch.randperm(9),
    "normal": lambda: torch.normal(torch.zeros(3), 1.0),
    "uniform_": lambda: torch.empty(3).uniform_(-1, 1),
    "normal_": lambda: torch.empty(3).normal_(),
    "linear": linear,
    "embedding": lambda: nn.Embedding(3, 2).weight.detach(),
    "attention": lambda: nn.MultiheadAttention(4, 2).in_proj_weight.detach(),
    "convolution": lambda: nn.Conv2d(1, 2, 3).weight.detach(),
    "trunc_normal_": lambda: nn.init.trunc_normal_(torch.empty(5)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_are_those_of_the_global_generator_with_that_seed(draw):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected = [draw(), draw()]
    before = torch.get_rng_state()
    with DrawFrom(torch.Generator().manual_seed(7)):
        found = [draw(), draw()]
    assert all(map(torch.equal, found, expected))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_generator_that_is_passed_is_used():
    own = torch.Generator().manual_seed(1)
    with DrawFrom(torch.Generator().manual_seed(7)):
        found = torch.rand(3, generator=own)
    assert torch.equal(found, torch.rand(3, generator=torch.Generator().manual_seed(1)))
