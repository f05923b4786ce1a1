"""One place for seeds: independent streams from a run's seed."""

from __future__ import annotations


def mix_seed(*numbers: int) -> int:
    """One 63-bit seed from several non-negative numbers; neighbours give unrelated seeds."""
    state = 0
    for number in numbers:
        # The finaliser of the splitmix64 generator (Steele, Lea and Flood, OOPSLA 2014).
        state = (state + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
