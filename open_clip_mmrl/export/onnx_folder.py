"""`--to onnx`: image.onnx, text.onnx, classes, tokenizer and README; runs without torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ..data.prompts import prompts
from ..errors import UsageError
from ..hub.adapter_info import AdapterInfo
from ..models.precision import in_half
from ..utils.files import refuse_existing, write_atomically
from ..utils.text import counted, listing
from .check import check_inputs, compare_images, compare_texts
from .modules import ImageFeatures, TextFeatures
from .onnx_files import DTYPES, Dtype, onnx_runner, require_onnx_packages, write_onnx
from .readme import Exported, write_readme
from .source import Source, load_source
from .tokenizer import read_otherwise, tokenizer_json
from .trace import trace

logger = logging.getLogger(__name__)

IMAGE, TEXT, TOKENIZER = "image.onnx", "text.onnx", "tokenizer.json"


def export_onnx(
    adapter: str | Path | AdapterInfo,
    output: str | Path,
    *,
    features: str = "fused",
    dtype: str = "float32",
    text: bool = True,
    images: Sequence[str | Path] = (),
    pretrained: str | None = None,
) -> Exported:
    """Write an adapter as a folder that classifies with onnxruntime, numpy and Pillow alone.

    The folder holds image.onnx (tokens baked in, any batch size), text.onnx for new class names,
    classes.safetensors, tokenizer.json, preprocessor.json, and a README.md with the code that uses
    them. All are compared with the model before the folder appears.

    Args:
        adapter: its file, a run's folder, or its header.
        output: a folder that does not exist yet.
        features: "fused" gives both image features, as `predict` uses them; "class" the class
            feature alone.
        dtype: of the weights: "float32", "float16", or "int8" (dynamic quantization).
        text: also write text.onnx and tokenizer.json.
        images: files and folders to compare on; () takes images that scikit-learn has.
        pretrained: base weights, where the adapter's own are not found.

    Returns:
        What was written and what the comparison has shown.

    Raises:
        UsageError: the folder exists, packages are missing, or an option has no such value.
        ValueError: a tower cannot be traced, or the files compute something else.
        OSError: they cannot be written.
    """
    refuse_existing(Path(output))
    kind = _known(dtype)
    require_onnx_packages()
    source = load_source(adapter, features, pretrained)
    inputs = check_inputs(source, images)
    with source.folder(output) as folder:
        lines = _write_image(source, folder, inputs, kind)
        tokenizer = False
        if text:
            lines += _write_text(source, folder, kind)
            tokenizer = _write_tokenizer(source, folder)
        return write_readme(
            "onnx.md.jinja", folder, output, source, lines, dtype=kind, text=text,
            tokenizer=tokenizer,
        )  # fmt: skip


def _known(dtype: str) -> Dtype:
    for known in DTYPES:
        if dtype == known:
            return known
    raise UsageError(f"dtype is {dtype!r}; it has to be one of {DTYPES}.")


def _write_image(source: Source, folder: Path, images: torch.Tensor, dtype: Dtype) -> list[str]:
    model = source.loaded.model
    exact = ImageFeatures(model, source.features).eval()
    half = dtype == "float16"
    module = ImageFeatures(in_half(model, "fp16"), source.features) if half else exact
    example = torch.zeros(2, 3, *source.image_size)
    what = f"the image tower of {source.loaded.name}"
    write_onnx(trace(module, example, what), folder / IMAGE, "images", exact.names, dtype)
    run = onnx_runner(folder / IMAGE)
    return compare_images(
        exact, run, images, source.classes, exact=dtype == "float32"
    ).lines("onnxruntime")  # fmt: skip


def _write_text(source: Source, folder: Path, dtype: Dtype) -> list[str]:
    model = source.loaded.model
    exact: nn.Module = TextFeatures(model).eval()
    module = TextFeatures(in_half(model, "fp16")) if dtype == "float16" else exact
    names, template = source.classes.names, source.classes.template
    tokens = source.loaded.class_tokens(names, template)
    what = f"the text tower of {source.loaded.name} (without it: text=False, --no-text)"
    program = trace(module, tokens[:1].repeat(2, 1), what)
    write_onnx(program, folder / TEXT, "tokens", TextFeatures.names, dtype)
    largest = compare_texts(
        exact, onnx_runner(folder / TEXT), tokens, exact=dtype == "float32"
    )  # fmt: skip
    return [
        f"text features of {counted(len(names), 'class prompt')}: the largest difference is "
        f"{largest:.1e}"
    ]


def _write_tokenizer(source: Source, folder: Path) -> bool:
    """Write tokenizer.json where there can be one; tell what it reads otherwise."""
    context = source.loaded.model.context_length
    tokenizer = source.loaded.tokenizer
    content = tokenizer_json(tokenizer, context)
    if content is None:
        logger.warning(
            "the tokenizer of %s cannot be written as tokenizer.json: text.onnx takes the ids of "
            "open_clip.get_tokenizer.", source.loaded.name,
        )  # fmt: skip
        return False
    texts = prompts(source.classes.names, source.classes.template)
    otherwise = read_otherwise(content, tokenizer, texts, context)
    if otherwise:
        logger.warning(
            "tokenizer.json reads %d of %d prompts otherwise than open_clip, which repairs HTML "
            "entities and damaged Unicode: %s.", len(otherwise), len(texts), listing(otherwise, 3),
        )  # fmt: skip
    write_atomically(folder / TOKENIZER, content.encode())
    return True
