"""Independent random streams from the seed of a run."""

from __future__ import annotations


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
