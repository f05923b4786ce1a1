"""Wording that the readers' error messages share."""

import difflib
from collections.abc import Iterable


def listing(names: Iterable[object], limit: int = 8) -> str:
    """`a, b, c`, cut after `limit` names with a count of the rest."""
    names = [str(name) for name in names]
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """` Did you mean a or b?`, with the space in front, or nothing when no choice is near."""
    # Compared in lower case: a wrong capital is the commonest slip in names of data sets.
    by_lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3)
    return f" Did you mean {' or '.join(by_lower[match] for match in near)}?" if near else ""
