"""`--to pt2`: the image tower as a program of torch.export; runs with torch alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..hub.adapter_info import AdapterInfo
from ..utils.files import refuse_existing, write_atomically
from .check import check_inputs, compare_images
from .modules import ImageFeatures
from .readme import Exported, write_readme
from .source import Source, load_source
from .trace import drop_unused, quietly, trace

PROGRAM = "image.pt2"


def export_pt2(
    adapter: str | Path | AdapterInfo,
    output: str | Path,
    *,
    features: str = "fused",
    images: Sequence[str | Path] = (),
    pretrained: str | None = None,
) -> Exported:
    """Write an adapter's image tower as a program of torch.export, with its classes.

    The folder holds image.pt2 (any batch size), classes.safetensors, preprocessor.json and a
    README.md with the code that uses them. The program is loaded again, and compared with the
    model, before the folder appears.

    Arguments, results and errors are those of `export_onnx`.
    """
    refuse_existing(Path(output))
    source = load_source(adapter, features, pretrained)
    inputs = check_inputs(source, images)
    with source.folder(output) as folder:
        lines = write_program(source, folder, inputs)
        return write_readme("pt2.md.jinja", folder, output, source, lines)


def write_program(source: Source, folder: Path, images: Tensor) -> list[str]:
    """Write the image tower, load it again; return what a comparison on the images has shown."""
    module = ImageFeatures(source.loaded.model, source.features).eval()
    what = f"the image tower of {source.loaded.name}"
    program = trace(module, torch.zeros(2, 3, *source.image_size), what)
    drop_unused(program)
    stream = io.BytesIO()  # on a full disk, torch's own writing ends the process
    with quietly():
        torch.export.save(program, stream)
        write_atomically(folder / PROGRAM, stream.getvalue())
        run = torch.export.load(folder / PROGRAM).module()

    def features(values: np.ndarray) -> list[np.ndarray]:
        return [feature.numpy() for feature in run(torch.from_numpy(values))]

    check = compare_images(module, features, images, source.classes, exact=True)
    return check.lines("torch.export")
