"""Where the result of a run goes: a name of its own, and a file that is whole and strict JSON."""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.utils.files import json_bytes, write_atomically

from ..model_types import FEATURES


def result_path(args: argparse.Namespace, task: str) -> Path:
    """`--output` filled in as clip_benchmark does, where that names one run and one only.

    Differences: an adapter or checkpoint file becomes `<folder>_<stem>-<8 hex of its content>`;
    `/` in names becomes `-`; for a model type of ours other than mmrl, which shows the same model
    differently, {model} ends in it.
    """
    is_file = os.path.isfile(args.pretrained)
    model = args.model.replace("/", "-")
    if args.model_type in FEATURES and args.model_type != "mmrl":
        model += "-" + args.model_type.removeprefix("mmrl_")
    fields = {
        "model": model,
        "pretrained": file_slug(args.pretrained) if is_file else args.pretrained.replace("/", "-"),
        "pretrained_full_path": args.pretrained.replace("/", "_") if is_file else args.pretrained,
        "task": task,
        "dataset": args.dataset.removeprefix("wds/").replace("/", "_"),
        "language": args.language,
    }
    try:
        path = Path(args.output.format(**fields))
    except (KeyError, IndexError, ValueError) as error:
        places = ", ".join(f"{{{name}}}" for name in fields)
        raise UsageError(
            f"--output {args.output!r} cannot be filled in ({error}): places are {places}."
        ) from error
    if path.is_dir():
        raise UsageError(f"--output {path} is a folder: give a file in it, such as {path}/x.json.")
    return path


def file_slug(path: str | Path) -> str:
    """`runs/a/adapter.safetensors` -> `a_adapter-1b2c3d4e`."""
    path = Path(os.path.abspath(path))
    stat = path.stat()
    digest = _digest(path, stat.st_size, stat.st_mtime_ns)
    return "_".join(part for part in (path.parent.name, f"{path.stem}-{digest}") if part)


@functools.cache
def _digest(path: Path, size: int, changed: int) -> str:
    """Once for all runs with a file, which may be a base's weights; anew when it has changed."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:8]


@contextmanager
def result_file(path: Path, extra: Mapping[str, Any]) -> Iterator[Path]:
    """A neighbour to write JSON to; at the end it takes its place at `path`, strict, with `extra`.

    `extra` is read at the end, so that it may be filled on the way.
    """
    partial = path.with_name(f".{path.name}.{os.getpid():08}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()  # rather now than after the evaluation
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}.") from error
    try:
        yield partial
        result = json.loads(partial.read_text())
        if result["metrics"] is None:
            raise ValueError(f"the evaluation gave no metrics; {path} is not written.")
        write_atomically(path, json_bytes(strict({**result, **extra})))
    finally:
        partial.unlink(missing_ok=True)


def strict(value: Any) -> Any:
    """NaN and infinities, which are no JSON, as null: of too few classes there is no acc5."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: strict(item) for key, item in value.items()}
    return [strict(item) for item in value] if isinstance(value, list) else value
