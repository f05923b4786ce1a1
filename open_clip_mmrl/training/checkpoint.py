"""Checkpoint files: written whole, and checked as a whole before anything of them is used."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..utils.digest import tensors_digest
from ..utils.files import write_atomically

CHECKPOINT = "checkpoint.pt"
_DIGEST = "digest"


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors, numbers and texts, in dicts and lists, to one file."""
    write_atomically(path, packed(content))


def packed(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a checkpoint file."""
    buffer = io.BytesIO()
    torch.save({**content, _DIGEST: _digest(content)}, buffer)
    return buffer.getvalue()


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Return what `write_checkpoint` was given.

    `torch.save` stores a checksum of every tensor, but `torch.load` compares none of them. They do
    not cover the table of contents, so there is a digest of the tensors as well; files of earlier
    versions have none.

    Raises:
        ValueError: the file is damaged, if only by one bit.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        return unpacked(data, device)
    except Exception as error:  # a damaged file raises whatever its damage leads to
        raise unreadable(path, type(error).__name__) from error


def unpacked(data: bytes, device: torch.device) -> dict[str, Any]:
    """Return the content of a checkpoint file's bytes; damaged ones raise anything."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        damaged = archive.testzip()
    content = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    there = content.pop(_DIGEST, None)
    if damaged is not None or there not in (None, _digest(content)):
        raise ValueError("wrong checksum")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return tensors_digest(dict(_tensors(content)))


def _tensors(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor in dicts in dicts, by its keys."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _tensors(one, f"{name}/{key}")


def unreadable(path: Path, reason: str) -> ValueError:
    """Return the error of a checkpoint that is damaged, or of another version."""
    return ValueError(
        f"the checkpoint {path} cannot be read ({reason}): delete it to start this run again; "
        "nothing else is lost."
    )


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether no number in them is infinite or NaN; waits for the device."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)
