"""Where an adapter is: a file; a run's folder or a repository, which hold it under one name."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TypeVar

from ..errors import UsageError
from ..utils.files import is_dir, is_file
from ..utils.text import listing
from .hub_repository import HubName, download, is_hub_name

ADAPTER = "adapter.safetensors"
"""Its name in a run's folder."""
RESULTS, SETTINGS = "results.json", "run.json"
"""What else such a folder holds; see `experiments.run_dir`."""
_SHOWN = 5

Source = TypeVar("Source")


def adapter_path(where: str | Path, *, cache_dir: str | None = None) -> Path:
    """Return the adapter file: `where` itself, or the one in it, see `adapter_in`.

    Raises:
        UsageError: there is none; the message says what is there instead.
    """
    if not isinstance(where, str | Path):  # such as None
        raise UsageError(f"the adapter is {where!r}; give a path, or hf-hub:USER/NAME.")
    found = adapter_in(where, cache_dir=cache_dir)
    if is_file(found):
        return Path(found)
    raise UsageError(_why_none(Path(where)))


def adapter_in(source: Source, *, cache_dir: str | None = None) -> Source | Path:
    """Return the adapter file of a run's folder or of "hf-hub:user/name", which is downloaded.

    Anything else is returned as it is, such as a tag.
    """
    if is_hub_name(source):
        return download(HubName.parse(str(source)), ADAPTER, cache_dir=cache_dir)
    if not isinstance(source, str | Path) or not is_file(Path(source) / ADAPTER):
        return source
    from open_clip.pretrained import list_pretrained

    is_tag = str(source) in {tag for _, tag in list_pretrained()}  # and a folder of that name
    return source if is_tag else Path(source) / ADAPTER


def _why_none(where: Path) -> str:
    if not is_dir(where):
        return f"There is no adapter file or folder {where}."
    below = sorted(str(path.parent) for path in islice(where.rglob(ADAPTER), 100))
    if below:
        return f"{where} is not the folder of one run; adapters are in {listing(below, _SHOWN)}."
    if is_file(where / RESULTS):
        return (
            f"{where} holds the results of a run, but no {ADAPTER}: only mmrl and mmrl++ "
            "write one, else it was removed."
        )
    if is_file(where / SETTINGS):
        return (
            f"{where} holds no {ADAPTER} yet: its run is not finished. Give the command that "
            "trains it once more; it resumes."
        )
    return f"{where} holds no {ADAPTER}: give an adapter file or the folder of a finished run."
