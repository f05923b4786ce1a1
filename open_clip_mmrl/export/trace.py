"""Tracing: a module with one input as a program of torch.export, whose first dimension is free."""

from __future__ import annotations

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
        rows = Dim("batch", max=2**31 - 1)  # without a bound, torch 2.6 finds that it has one
        return torch.export.export(
            module.eval(), (example,), dynamic_shapes=({0: rows},), strict=False
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


def drop_unused(program: ExportedProgram) -> None:
    """Remove the weights that a program does not read, such as those of the other tower."""
    signature, graph = program.graph_signature, program.graph
    stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for node in list(graph.nodes):
        if node.op == "placeholder" and node.name in stored and not node.users:
            graph.erase_node(node)
            program.state_dict.pop(stored[node.name], None)
            specs = signature.input_specs
            specs[:] = [spec for spec in specs if getattr(spec.arg, "name", None) != node.name]
    program.graph_module.recompile()


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
