"""Names that a text tower can read, for folders that are called otherwise: `n01440764: tench`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import UsageError
from ..utils.files import expand_home, read_bounded
from ..utils.text import listing, nfc
from .prompts import readable

Pairs = list[tuple[str, str]]
_SHOWN = 20
_FOLDER = r"""("[^"]*"|'[^']*'|.+?)\s*:"""
_LINE, _DENSE_LINE = (re.compile(_FOLDER + rest) for rest in (r"\s+(.+)", "(.+)"))
"""A folder's name may hold a colon that no space follows."""


def read_class_names(path: str | Path, folders: Sequence[str]) -> dict[str, str]:
    """Return class names by folder name, from lines `folder: name` or one JSON object.

    Blank lines and comments (`#`) are skipped, quotes around a name are dropped.

    Args:
        path: the file, in UTF-8.
        folders: the class folders, each of which needs a name.

    Raises:
        UsageError: the file cannot be read, or does not name each folder once with a name of its
            own; the message lists all that is wrong.
    """
    try:
        text = read_bounded(expand_home(path), 2**24).decode("utf-8-sig")
    except (OSError, ValueError) as error:  # a NUL in its name, or no UTF-8
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UsageError(f"class names {path} cannot be read: {why}.") from error
    pairs, problems = _json_pairs(text) if text.lstrip().startswith("{") else _line_pairs(text)
    twice = [key for key, count in Counter(nfc(key) for key, _ in pairs).items() if count > 1]
    if twice:
        problems.append(f"folders named twice: {listing(twice, _SHOWN)}")
    names = dict(pairs)
    problems += _mismatches(names, folders)
    if problems:
        raise UsageError(f"class names {path}: {'; '.join(problems)}.")
    return names


def renamed(folders: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Return the class name of every folder.

    Raises:
        UsageError: folders and names do not match; the message lists all that is wrong.
    """
    problems = _mismatches(names, folders)
    if problems:
        raise UsageError(f"class names: {'; '.join(problems)}.")
    return known_names(folders, names)


def known_names(folders: Iterable[str], names: Mapping[str, str]) -> list[str]:
    """Return the class name of every folder, the folder's own where there is no other."""
    by_text = {nfc(folder): name for folder, name in names.items()}
    return [by_text.get(nfc(folder), folder) for folder in folders]


def _mismatches(names: Mapping[str, str], folders: Sequence[str]) -> list[str]:
    """Say how the names and the class folders do not match."""
    given, there = {nfc(name) for name in names}, {nfc(folder) for folder in folders}
    lacking = [folder for folder in folders if nfc(folder) not in given]
    unknown = [name for name in names if nfc(name) not in there]
    counts = Counter(readable(name) for name in known_names(folders, names))
    twice = [name for name, count in counts.items() if count > 1]
    found = (
        (f"there is no class folder {listing(unknown, _SHOWN)}", unknown),
        (f"class folders without a name: {listing(lacking, _SHOWN)}", lacking),
        (f"names of several classes: {listing(twice, _SHOWN)}", twice),
    )
    return [problem for problem, names_of_it in found if names_of_it]


def _line_pairs(text: str) -> tuple[Pairs, list[str]]:
    pairs: Pairs = []
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#") or line == "---":
            continue
        found = _LINE.fullmatch(line) or _DENSE_LINE.fullmatch(line)
        folder, name = (_unquoted(text) for text in found.groups()) if found else ("", "")
        if folder and name:
            pairs.append((folder, name))
        else:
            problems.append(f"line {number} is {line[:60]!r}, not 'folder: name'")
    return pairs, _cut(problems)


def _json_pairs(text: str) -> tuple[Pairs, list[str]]:
    def keep(pairs: list[tuple[str, object]]) -> list[tuple[str, object]]:
        return pairs  # a dict would lose folders that are named twice

    try:
        found = json.loads(text, object_pairs_hook=keep)
    except (ValueError, RecursionError) as error:
        return [], [f"it begins with '{{' and is no JSON object ({error})"]
    pairs = [(key, value) for key, value in found if isinstance(value, str) and value.strip()]
    others = [key for key, value in found if not (isinstance(value, str) and value.strip())]
    return pairs, [f"the name is no text, or empty: {listing(others, _SHOWN)}"] if others else []


def _unquoted(text: str) -> str:
    """Return what is in quotes, or the text up to a comment."""
    text = text.strip()
    for quote in "\"'":
        if text.startswith(quote) and quote in text[1:]:
            return text[1 : text.index(quote, 1)]
    return text.partition(" #")[0].strip()


def _cut(problems: list[str]) -> list[str]:
    return problems if len(problems) <= _SHOWN else [listing(problems, _SHOWN)]
