"""Checkpoint files: written whole, and checked as a whole before anything of them is used."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..utils.files import write_atomically

CHECKPOINT = "checkpoint.pt"
_DIGEST = "digest"


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors, numbers and texts, in dicts and lists, to one file."""
    buffer = io.BytesIO()
    torch.save({**content, _DIGEST: _digest(content)}, buffer)
    write_atomically(path, buffer.getvalue())


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Return what `write_checkpoint` was given.

    `torch.save` stores a checksum of every tensor, but `torch.load` compares none of them. They do
    not cover the table of contents, so there is a digest of the content as well; files of earlier
    versions have none.

    Raises:
        ValueError: the file is damaged, if only by one bit.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            damaged = archive.testzip()
        content = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        there = content.pop(_DIGEST, None)
        if damaged is not None or there not in (None, _digest(content)):
            raise ValueError("wrong checksum")
    except Exception as error:  # a damaged file raises whatever its damage leads to
        raise unreadable(path, type(error).__name__) from error
    return content


def _digest(content: Mapping[str, Any]) -> str:
    state = hashlib.sha256()
    for part in _parts(content):
        state.update(part)
    return state.hexdigest()


def _parts(value: object) -> Iterator[bytes]:
    """Yield what identifies a value, tensors by type, shape and bytes."""
    if isinstance(value, Tensor):
        yield repr((value.dtype, tuple(value.shape))).encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield repr(key).encode()
            yield from _parts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _parts(one)
    else:
        yield repr(value).encode()


def unreadable(path: Path, reason: str) -> ValueError:
    """Return the error of a checkpoint that is damaged, or of another version."""
    return ValueError(
        f"the checkpoint {path} cannot be read ({reason}): delete it to start this run again; "
        "nothing else is lost."
    )


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether no number in them is infinite or NaN; waits for the device."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)
