"""Figures made of figures. Standard library only."""


def harmonic_mean(base: float, novel: float) -> float:
    """HM of two accuracies, 0 where one of them is."""
    return 2 * base * novel / (base + novel) if base and novel else 0.0
