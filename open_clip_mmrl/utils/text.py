"""Wording that messages and tables share: near matches, lists of names, numbers, escapes."""

import csv
import difflib
import io
import re
import unicodedata
from collections.abc import Iterable

MINUS = "\N{MINUS SIGN}"
_BIDI = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
"""Classes of the characters that change the direction of what follows them."""
_MARKUP = re.compile(
    r"[\\|`*~$@]|\](?=\()|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE
)
"""What begins code, emphasis, a link, a formula, a mention or a cell within a line of Markdown."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def listing(names: Iterable[object], limit: int = 8) -> str:
    """Return `a, b, c`, cut after `limit` names with a count of the rest."""
    texts = [str(name) for name in names]
    shown = ", ".join(texts[:limit])
    return f"{shown} and {len(texts) - limit} more" if len(texts) > limit else shown


def counted(number: int | str, noun: str) -> str:
    """Return `1 shot`, `2 shots`."""
    shown = number if isinstance(number, str) else f"{number:,}"
    return f"{shown} {noun}{'' if shown == '1' else 's'}"


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


def in_words(seconds: float) -> str:
    """Return `40 s`, `12 min`, `3.5 h` or `2.1 days`."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}".replace(".0 ", " ")
    return f"{max(seconds, 1):.0f} s"


def printable(text: str, keep: str = "\n\t") -> str:
    r"""Return a text with what could command a terminal as escapes: ESC as \x1b.

    Escaped are control characters except those in `keep`, line separators, changes of direction,
    and the surrogates that stand for bytes of a file name that are not UTF-8.
    """
    return "".join(
        c.encode("unicode_escape").decode() if c not in keep and _is_command(c) else c for c in text
    )


def _is_command(character: str) -> bool:
    if " " <= character <= "~":
        return False
    is_control = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    return is_control or unicodedata.bidirectional(character) in _BIDI


def markdown_text(text: str) -> str:
    """Return a text in which no name can be markup, for the middle of a line of Markdown."""
    text = re.sub(r"&(?=#?\w+;)", "&amp;", printable(" ".join(text.split("\n")), keep=""))
    return _MARKUP.sub(r"\\\g<0>", text.replace("<", "&lt;"))


def nfc(text: str) -> str:
    """Return a text in one Unicode form; file systems do not agree on one for names."""
    return unicodedata.normalize("NFC", text)


def csv_cell(value: object) -> object:
    """Return a cell that spreadsheets do not run: `'=1+1` for `=1+1`; numbers stay as they are."""
    if not isinstance(value, str) or value == "-" or _NUMBER.fullmatch(value):
        return value
    is_formula = value.lstrip().startswith(("=", "+", "-", "@")) or value.startswith(("\t", "\r"))
    return f"'{value}" if is_formula else value


def to_csv(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV, every cell as `csv_cell` makes it."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(map(csv_cell, row) for row in rows)
    return stream.getvalue()
