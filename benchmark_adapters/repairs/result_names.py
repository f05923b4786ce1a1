"""Names of result files: two adapters overwrite each other's results.

clip_benchmark 1.6.2 fills `{pretrained}` with the name of the file without its folder: results of
`a/adapter.safetensors` and `b/adapter.safetensors` have one name, and with `--skip_existing` the
second is skipped. A model name with a slash (`hf-hub:org/name`) becomes a folder that does not
exist, which fails after the evaluation. To see the first: its `run` with `--skip_existing` and
`--output {pretrained}.json` skips an adapter of a second folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.utils.digest import file_digest

from ..model_types import FEATURES


def result_path(args: argparse.Namespace, task: str) -> Path:
    """Return `--output` filled in as by clip_benchmark, except where that does not name one run.

    Differences: an adapter or checkpoint file becomes `<folder>_<stem>-<8 hex of its content>`;
    `/` in names becomes `-`; for our model types other than mmrl, which evaluate the same model
    differently, {model} ends in the type.

    Raises:
        UsageError: an `--output` that cannot be filled in, or is a folder.
    """
    is_file = Path(args.pretrained).is_file()
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
    """Return `runs/a/adapter.safetensors` as `a_adapter-1b2c3d4e`; links keep their own name."""
    path = Path(path).absolute()
    stem = f"{path.stem}-{file_digest(path)[:8]}"
    return "_".join(part for part in (path.parent.name, stem) if part)
