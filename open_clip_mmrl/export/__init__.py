"""Adapters as files that need neither this package nor, for ONNX, torch: one folder each.

`onnx_folder`, `pt2_folder` and `benchmark_folder` write what `open-clip-mmrl export` offers; all of
them check the written files against the model on images. May import `evaluation` and the rooms
below it; `cli` imports it.
"""

from .benchmark_folder import export_classifier
from .onnx_folder import export_onnx
from .pt2_folder import export_pt2

__all__ = ["export_classifier", "export_onnx", "export_pt2"]
