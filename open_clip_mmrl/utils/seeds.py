"""Independent random streams from the seed of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Generator
from torch.overrides import TorchFunctionMode

_DRAWING = {
    *("rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial"),
    *("uniform_", "normal_", "random_", "bernoulli_", "exponential_", "trunc_normal_"),
    *("kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"),
}
"""Names of torch's functions that draw and take a generator."""


def mix_seed(*numbers: int) -> int:
    """Return a 63-bit seed from several non-negative numbers; near numbers give unrelated seeds.

    numpy's SeedSequence would serve as well, but draw other numbers: adapters trained so far could
    then not be repeated.
    """
    state = 0
    for number in numbers:
        # The finalizer of the splitmix64 generator (Steele, Lea and Flood, OOPSLA 2014).
        state = (state + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1


class DrawFrom(TorchFunctionMode):
    """A context in which torch's functions draw from a generator, which code of others cannot pass.

    For this thread alone: the global generator is neither read nor moved, and what is drawn is
    what it would draw with the same seed.

    Example:
        >>> import torch
        >>> with DrawFrom(Generator().manual_seed(1)):
        ...     first = torch.rand(2)
        >>> torch.equal(first, torch.rand(2, generator=Generator().manual_seed(1)))
        True
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, with the generator if it draws."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _DRAWING and kwargs.get("generator") is None:
            kwargs = {**kwargs, "generator": self.generator}
        return func(*args, **kwargs)
