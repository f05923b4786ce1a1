"""`--to classifier`: what clip_benchmark needs to score an adapter without this package.

clip_benchmark's `--load_clfs` takes a matrix [features, C]. The fused one needs an image tower that
gives both features, which no model of the command has: `run_clip_benchmark.py` hands it image.pt2.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..hub.adapter_info import AdapterInfo
from ..utils.files import refuse_existing, write_atomically
from .check import check_inputs
from .pt2_folder import write_program
from .readme import TEMPLATES, Exported, write_readme
from .source import load_source

FUSED, TEXT, SCRIPT = "classifier.pt", "text_classifier.pt", "run_clip_benchmark.py"


def export_classifier(
    adapter: str | Path | AdapterInfo,
    output: str | Path,
    *,
    features: str = "fused",
    images: Sequence[str | Path] = (),
    pretrained: str | None = None,
) -> Exported:
    """Write an adapter's classes as classifiers for clip_benchmark's `--load_clfs`.

    The folder holds classifier.pt (the fused matrix [2E, C], or [E, C] of the class feature), the
    image tower that belongs to it as image.pt2, run_clip_benchmark.py, which starts the stock
    command with that tower, and text_classifier.pt [E, C] for the frozen base model.

    Arguments, results and errors are those of `export_onnx`.
    """
    refuse_existing(Path(output))
    source = load_source(adapter, features, pretrained)
    inputs = check_inputs(source, images)
    classes = source.classes
    with source.folder(output) as folder:
        lines = write_program(source, folder, inputs)
        matrix = classes.fused_text() if source.features == "fused" else classes.text
        _write_tensor(folder / FUSED, torch.from_numpy(matrix.T))
        _write_tensor(folder / TEXT, torch.from_numpy(classes.text.T))
        write_atomically(folder / SCRIPT, (TEMPLATES / f"{SCRIPT}.txt").read_bytes())
        return write_readme("classifier.md.jinja", folder, output, source, lines)


def _write_tensor(path: Path, tensor: Tensor) -> None:
    """Write float32: half precision fails with `--no_amp`."""
    stream = io.BytesIO()
    torch.save(tensor.float().contiguous(), stream)
    write_atomically(path, stream.getvalue())
