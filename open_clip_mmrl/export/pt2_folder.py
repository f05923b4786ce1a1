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
from .check import Check, check_inputs, compare_images
from .modules import FusedFeature, ImageFeatures
from .readme import Exported, write_readme
from .source import Source, load_source
from .trace import quietly, trace, without_unused

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
        module = ImageFeatures(source.loaded.model, source.features)
        check = write_program(source, module, folder / PROGRAM, inputs)
        return write_readme("pt2.md.jinja", folder, output, source, check.lines("torch.export"))


def write_program(
    source: Source, module: ImageFeatures | FusedFeature, path: Path, images: Tensor
) -> Check:
    """Write a module's program without what it does not read, load it again and compare."""
    example = torch.zeros(2, 3, *source.image_size)
    what = f"the image tower of {source.loaded.name}"
    program = trace(module, example, what)
    program = trace(without_unused(module, program), example, what)
    stream = io.BytesIO()  # on a full disk, torch's own writing ends the process
    with quietly():
        torch.export.save(program, stream)
        write_atomically(path, stream.getvalue())
        run = torch.export.load(path).module()

    def features(values: np.ndarray) -> list[np.ndarray]:
        return [feature.numpy() for feature in run(torch.from_numpy(values))]

    return compare_images(module.eval(), features, images, source.classes, exact=True)
