"""ONNX files of traced programs: weights of three kinds, constants computed once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch.export import ExportedProgram

from ..errors import UsageError
from .trace import quietly, tracing_errors

Dtype = Literal["float32", "float16", "int8"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
_PACKAGES = ("onnx", "onnxscript", "onnxruntime", "tokenizers")
_QUANTIZED = ("MatMul", "Gemm", "Gather")
"""Products and embeddings. Not convolutions: patches are read once, and slower with integers."""
_ALL = 2**62

Run = Callable[[np.ndarray], list[np.ndarray]]


def require_onnx_packages() -> None:
    """Check, before anything long, that what writes and runs ONNX files is there.

    Raises:
        UsageError: a package is missing.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"ONNX files need {', '.join(missing)}, which this environment lacks: "
            f"pip install {' '.join(missing)}."
        )


def write_onnx(
    program: ExportedProgram, path: Path, inputs: str, outputs: Sequence[str], dtype: Dtype
) -> None:
    """Write a traced program; above 2 GB its weights are in `path` with `.data` at the end.

    Args:
        program: in float32, or in float16 where that is wanted.
        path: the file.
        inputs: the input's name.
        outputs: the outputs' names.
        dtype: "int8" quantizes the weights of a float32 program; activations are quantized as they
            come.

    Raises:
        ValueError: there is no ONNX for one of its operations.
    """
    from onnxscript import optimizer

    with quietly(), tracing_errors(path.name):
        made: Any = torch.onnx.export(
            program,
            dynamo=True,
            dynamic_shapes=({0: "batch"},),
            verbose=False,
            optimize=False,  # below
            input_names=[inputs],
            output_names=list(outputs),
        )
        # The tokens do not depend on the input: here they are computed.
        optimizer.optimize_ir(made.model, input_size_limit=_ALL, output_size_limit=_ALL)
    _forget_source(made.model.graph)
    if dtype != "int8":
        made.save(path)
        if dtype == "float16":
            require_loads(path)
        return
    whole = path.with_suffix(".float32.onnx")
    made.save(whole)
    quantize(whole, path)
    for part in path.parent.glob(f"{whole.name}*"):
        part.unlink()


def _forget_source(graph: Any) -> None:
    """Remove the notes of each operation's place in the source: paths of this machine."""
    for node in graph:
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()


def require_loads(path: Path) -> None:
    """Load a file in another process: onnxruntime 1.32 dies of some in float16 (attention pools).

    Raises:
        ValueError: it cannot be loaded.
    """
    code = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=False)
    if done.returncode:
        raise ValueError(
            f"this onnxruntime cannot load {path.name} in float16 (exit code {done.returncode}): "
            "export in float32 or int8. Nothing was written."
        )


def quantize(whole: Path, path: Path) -> None:
    """Write an ONNX file in float32 again, with products and embeddings in int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    large = whole.with_name(f"{whole.name}.data").exists()
    with quietly():
        quantize_dynamic(
            whole,
            path,
            op_types_to_quantize=list(_QUANTIZED),
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=large,
        )


def onnx_runner(path: Path) -> Run:
    """Return what runs an ONNX file, on the CPU with as many threads as torch takes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()

    def run(values: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(output) for output in session.run(None, {given.name: values})]

    return run
