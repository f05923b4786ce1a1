"""Tracing: a module with one input as a program of torch.export, whose first dimension is free."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram


def trace(module: nn.Module, example: Tensor, what: str) -> ExportedProgram:
    """Return the program of a module.

    Args:
        module: of one input, in evaluation mode.
        example: an input, of at least two rows.
        what: the module's name in messages.

    Raises:
        ValueError: it cannot be traced.
    """
    with quietly(), tracing_errors(what):
        return torch.export.export(
            module.eval(), (example,), dynamic_shapes=({0: Dim("batch")},), strict=False
        )


@contextmanager
def tracing_errors(what: str) -> Iterator[None]:
    """Turn whatever torch raises over an export into one message.

    Raises:
        ValueError: it cannot be exported.
    """
    try:
        with torch.no_grad():
            yield
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch's and onnxscript's errors have no common type
        first = str(error).strip().partition("\n")[0][:300]
        raise ValueError(
            f"{what} cannot be exported: {type(error).__name__}: {first} Nothing was written. "
            "Its operations depend on values, or this version of torch does not know how to "
            "export them; a newer one may."
        ) from error


def without_unused(module: nn.Module, program: ExportedProgram) -> nn.Module:
    """Return a copy of a module whose parameters that the program does not read are empty.

    Args:
        module: as traced.
        program: what `trace` made of it.
    """
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    signature = program.graph_signature
    targets = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    read = {target for name, target in targets.items() if placeholders[name].users}
    # One tensor has one name in a program.
    addresses = {_address(program.state_dict[name]) for name in read if name in program.state_dict}
    own = copy.deepcopy(module)
    for before, after in zip(module.parameters(), own.parameters(), strict=True):
        if _address(before) not in addresses:
            after.data = after.data.new_zeros(0)
    return own


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@contextmanager
def quietly() -> Iterator[None]:
    """Silence what torch and onnxscript report of their own code while they export."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    root = logging.getLogger()
    root.addFilter(_about_quantization)
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        # Where tracing fails, torch prints the graph so far.
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(_about_quantization)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _about_quantization(record: Any) -> bool:
    return "pre-processing before quantization" not in str(record.msg)
