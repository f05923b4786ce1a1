"""Reading the header of an adapter file: no tensor is read, nothing is built."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ..errors import UsageError
from ..models.learner import RepresentationLearner
from ..utils.files import is_file
from .adapter_info import AdapterInfo
from .adapter_path import adapter_in, adapter_path

logger = logging.getLogger(__name__)

HEADER = "open_clip_mmrl"


def read_adapter(path: str | Path | AdapterInfo) -> AdapterInfo:
    """Return the header of an adapter file or a run's, read and checked; a header as it is."""
    if isinstance(path, AdapterInfo):
        return path
    path = adapter_path(path)
    info = _read_header(path)
    if info is None:
        raise ValueError(
            f"{path} is a safetensors file, but not an adapter: its header has no {HEADER!r}. "
            "Give a file written by save_adapter."
        )
    return info


def find_adapter(source: object) -> AdapterInfo | None:
    """Return the header where `source` is an adapter, None where it is a tag or a base checkpoint.

    Raises:
        ValueError: an adapter that cannot be used, or a damaged .safetensors file.
    """
    if isinstance(source, AdapterInfo):
        return source
    source = adapter_in(source)
    if not isinstance(source, str | Path) or not is_file(source):
        return None
    # A damaged .safetensors file is ours to name; open_clip would fail on it with less detail.
    known = Path(source).suffix == ".safetensors" or is_adapter(source)
    return _read_header(source) if known else None


def is_adapter(path: object) -> bool:
    """Return whether this is the path of an existing safetensors file with an adapter's header."""
    try:
        with open_safetensors(path) as file:
            return HEADER in (file.metadata() or {})
    except ValueError:
        return False


@contextmanager
def open_safetensors(path: object) -> Iterator[Any]:
    """Open a safetensors file; every error of its reader becomes a ValueError with the path."""
    if not isinstance(path, str | Path | AdapterInfo) or not is_file(path):
        raise UsageError(f"There is no adapter file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as a safetensors file ({error}): it is truncated, damaged or "
            "of another kind. Copy it again, or train again."
        ) from error


def _read_header(path: str | Path) -> AdapterInfo | None:
    """Return the checked header, which the tensors' shapes have to fit; None without a header."""
    with open_safetensors(path) as file:
        text = (file.metadata() or {}).get(HEADER)
        if text is None:
            return None
        info = AdapterInfo.parse(path, text)
        if info.unedited is False:
            logger.warning(
                "%s: by its digest, its header (classes, prompt, settings) is not as it was saved: "
                "it was edited, or is damaged.",
                path,
            )
        found = {}
        for name in file.keys():  # noqa: SIM118 (no mapping)
            part = file.get_slice(name)
            found[name] = tuple(part.get_shape())
            allowed = ("I64",) if name == "start_layer" else ("F64", "F32", "F16", "BF16")
            if part.get_dtype() not in allowed:
                raise ValueError(
                    f"{path} does not fit: {name} is of type {part.get_dtype()}, not {allowed}."
                )
    check_shapes(_learner_shapes(info), found, path)
    return info


def _learner_shapes(info: AdapterInfo) -> dict[str, tuple[int, ...]]:
    """Return the shapes that the header's settings stand for; nothing is allocated."""
    shape = info.base.shape
    with torch.device("meta"):
        learner = RepresentationLearner(
            info.config,
            image_width=shape["image_width"],
            text_width=shape["text_width"],
            embed_dim=shape["embed_dim"],
            layers=shape["text_layers"] - info.config.start_layer + 1,
        )
    return {name: tuple(tensor.shape) for name, tensor in learner.state_dict().items()}


def check_shapes(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], source: object
) -> None:
    """Raise ValueError where names or shapes of a learner's tensors differ."""
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or extra:
        raise ValueError(f"{source} does not fit: missing {missing}, not known {extra}.")
    for name, shape in found.items():
        if shape != wanted[name]:
            raise ValueError(
                f"{source} does not fit: {name} is {shape}, this model has {wanted[name]}."
            )
