"""ONNX in float32: one file that runs wherever ONNX Runtime runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from components.exporters._onnx_graph import write_onnx
from components.serving.onnx_runner import OnnxRunner

if TYPE_CHECKING:
    from components.protocols import Array


class Onnx:
    """An `Exporter` through torch.onnx's graph capture (`dynamo=True`)."""

    format = "onnx"
    file_name = "model.onnx"
    needs_calibration = False

    def export(self, graph: nn.Module, example_NHWC: torch.Tensor, calibration_NHWC: Array | None, metadata: Mapping[str, str], path: Path) -> None:
        """Write the graph; see `Exporter.export`."""
        del calibration_NHWC
        write_onnx(graph, example_NHWC, metadata, path)

    def runner(self, path: Path, num_threads: int) -> OnnxRunner:
        """Load a written file; see `Exporter.runner`."""
        return OnnxRunner(path, num_threads)


plugin = Onnx()
