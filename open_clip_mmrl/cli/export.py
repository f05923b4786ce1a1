"""`open-clip-mmrl export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from ..errors import UsageError
from .common import (
    DATA,
    MACHINE,
    METHOD,
    OUTPUT,
    AdapterOption,
    BaseOption,
    command,
    option,
    path_option,
    say,
)


@command()
def export(
    adapter: AdapterOption,
    output: Annotated[Path, path_option("Folder to write; must not exist yet.", "--output")],
    to: Annotated[
        Literal["onnx", "pt2", "classifier"],
        option(
            OUTPUT,
            "onnx: runs with onnxruntime, without torch; pt2: a program of torch.export; "
            "classifier: for clip_benchmark --load_clfs.",
        ),
    ] = "onnx",
    features: Annotated[
        Literal["fused", "class"],
        option(METHOD, "fused: both image features, as predict; class: the class feature alone."),
    ] = "fused",
    dtype: Annotated[
        Literal["float32", "float16", "int8"] | None,
        option(MACHINE, "Weights of --to onnx. Default: float32. int8: dynamic quantization."),
    ] = None,
    no_text: Annotated[
        bool, option(OUTPUT, "Leave text.onnx and tokenizer.json out of --to onnx.", "--no-text")
    ] = False,
    images: Annotated[
        list[str] | None,
        option(
            DATA,
            "Image file or folder to compare with PyTorch on; as often as needed. Default: digits "
            "and parts of photographs that scikit-learn has.",
            metavar="PATH",
        ),
    ] = None,
    pretrained: BaseOption = None,
) -> None:
    """Write an adapter as files that need neither this package nor, for ONNX, torch.

    The folder has a README.md with the code that uses it. It is compared with
    PyTorch on images before it appears: the largest difference, the top-1 class
    and the speed of both are printed, and are in its README.md.

    Not possible: TorchScript; transformers' CLIP and open_clip without this
    package, which have no place for the tokens; tokenizer.json of tokenizers
    whose ids open_clip changes afterwards. float16 is for GPUs: CPUs convert it
    at every use.
    """
    from ..export import export_classifier, export_onnx, export_pt2

    if to != "onnx" and (dtype or no_text):
        raise UsageError(f"--dtype and --no-text are for --to onnx; leave them out with --to {to}.")
    given = {"features": features, "images": images or (), "pretrained": pretrained}
    if to == "onnx":
        done = export_onnx(adapter, output, dtype=dtype or "float32", text=not no_text, **given)
    else:
        write = export_pt2 if to == "pt2" else export_classifier
        done = write(adapter, output, **given)
    for name, size in done.files.items():
        say(f"{name:<24}{size / 1e6:>10,.3f} MB")
    for line in done.lines:
        say(line)
    say(f"{output}: README.md has the code that uses it.")
