"""Where an adapter is: a file, or a run's folder, which holds it under one name."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TypeVar

from ..errors import UsageError
from ..utils.files import is_file
from ..utils.text import listing

ADAPTER = "adapter.safetensors"
"""Its name in a run's folder."""
_SHOWN = 5

Source = TypeVar("Source")


def adapter_path(where: str | Path) -> Path:
    """Return the adapter file: `where` itself, or the one in it if it is a run's folder.

    Raises:
        UsageError: there is none; the message says what is there instead.
    """
    found = adapter_in(where)
    if is_file(found):
        return Path(found)
    raise UsageError(_why_none(Path(where)))


def adapter_in(source: Source) -> Source | Path:
    """Return the adapter file of a run's folder; anything else as it is, such as a tag."""
    if not isinstance(source, str | Path) or not is_file(Path(source) / ADAPTER):
        return source
    from open_clip.pretrained import list_pretrained

    is_tag = str(source) in {tag for _, tag in list_pretrained()}  # and a folder of that name
    return source if is_tag else Path(source) / ADAPTER


def _why_none(where: Path) -> str:
    try:
        is_folder = where.is_dir()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        is_folder = False
    if not is_folder:
        return f"There is no adapter file or folder {where}."
    below = sorted(str(path.parent) for path in islice(where.rglob(ADAPTER), 100))
    if below:
        return f"{where} is not the folder of one run; adapters are in {listing(below, _SHOWN)}."
    if is_file(where / "results.json"):
        return (
            f"{where} holds the results of a run, but no {ADAPTER}: zeroshot and linear_probe "
            "train none, else it was removed."
        )
    if is_file(where / "run.json"):
        return (
            f"{where} holds no {ADAPTER} yet: its run is not finished. Give the command that "
            "trains it once more; it resumes."
        )
    return f"{where} holds no {ADAPTER}: give an adapter file or the folder of a finished run."
