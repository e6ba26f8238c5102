"""torch.export's .pt2: for who serves with torch, ahead-of-time compiles, or goes on to a device's own compiler."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from components.errors import DataError, InputError
from components.exporters._onnx_graph import output_names, reason

if TYPE_CHECKING:
    from components.protocols import Array

_EXTRA = "darkroom.json"


class TorchExport:
    """An `Exporter` through torch.export, the batch size free."""

    format = "torch_export"
    file_name = "model.pt2"
    needs_calibration = False

    def export(self, graph: nn.Module, example_NHWC: torch.Tensor, calibration_NHWC: Array | None, metadata: Mapping[str, str], path: Path) -> None:
        """Write the graph; see `Exporter.export`."""
        del calibration_NHWC
        try:
            with torch.inference_mode(False), torch.no_grad():
                program = torch.export.export(graph.eval(), (example_NHWC,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        except (RuntimeError, TypeError) as error:
            raise InputError(f"torch.export cannot trace this network: {reason(error)}") from error
        for node in program.graph.nodes:
            for trace in ("stack_trace", "source_fn_stack", "from_node", "nn_module_stack"):
                node.meta.pop(trace, None)
        extra = {_EXTRA: json.dumps({"metadata": dict(metadata), "outputs": output_names(graph)}, sort_keys=True)}
        torch.export.save(program, path, extra_files=extra)

    def runner(self, path: Path, num_threads: int) -> TorchRunner:
        """Load a written file; see `Exporter.runner`."""
        return TorchRunner(path, num_threads)


class TorchRunner:
    """A loaded .pt2 file: a `Runner`."""

    def __init__(self, path: Path, num_threads: int) -> None:
        import torchvision  # noqa: F401 - it brings the operators that a detector's graph may name

        extra = {_EXTRA: ""}
        try:
            self._module = torch.export.load(path, extra_files=extra).module()
            described: dict[str, Any] = json.loads(extra[_EXTRA])
        except Exception as error:  # torch raises whatever its readers trip over in a damaged file
            raise DataError(f"{path} cannot be loaded by torch.export: {reason(error)}") from error
        self.metadata: Mapping[str, str] = described["metadata"]
        self._outputs: list[str] = described["outputs"]
        self._num_threads = num_threads

    def __call__(self, images_NHWC: Array) -> dict[str, Array]:
        """Run a batch, uint8 (N, H, W, C), to named outputs."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._num_threads)
        try:
            with torch.inference_mode():
                outputs = self._module(torch.from_numpy(np.array(images_NHWC)))
        finally:
            torch.set_num_threads(before)
        tensors = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
        return {name: tensor.numpy() for name, tensor in zip(self._outputs, tensors, strict=True)}


plugin = TorchExport()
