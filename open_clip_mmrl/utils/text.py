"""Wording that messages and tables share: near matches, short lists of names, numbers."""

import difflib
from collections.abc import Iterable

MINUS = "\N{MINUS SIGN}"


def listing(names: Iterable[object], limit: int = 8) -> str:
    """Return `a, b, c`, cut after `limit` names with a count of the rest."""
    texts = [str(name) for name in names]
    shown = ", ".join(texts[:limit])
    return f"{shown} and {len(texts) - limit} more" if len(texts) > limit else shown


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return ` Did you mean a or b?`, with the space in front, or "" when no choice is near.

    Upper and lower case are the same here: a wrong capital is the commonest slip.
    """
    by_lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3)
    return suggestion(*(by_lower[match] for match in near))


def suggestion(*names: str) -> str:
    """Return ` Did you mean a or b?` for names that are known to be near; "" for none."""
    return f" Did you mean {' or '.join(names)}?" if names else ""


def decimal(value: float, digits: int = 2, std: float | None = None, signed: bool = False) -> str:
    """Return a number, and its standard deviation where there is one: "85.68 ±0.21", "+0.12"."""
    text = f"{value:{'+' if signed else ''},.{digits}f}".replace("-", MINUS)
    return text if std is None else f"{text} ±{std:.{digits}f}"
