"""An ONNX artifact on the CPU, through ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime

from components.errors import DataError

_ERRORS_ONLY = 3


class OnnxRunner:
    """A loaded ONNX file: a `Runner`.

    Args:
        path: The file.
        num_threads: Threads that share the work of one call.

    Raises:
        DataError: The file is missing or no ONNX file that can be run.
    """

    def __init__(self, path: Path, num_threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = _ERRORS_ONLY
        if not path.is_file():
            raise DataError(f"{path} not found; expected an ONNX file")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no public class
            raise DataError(f"{path} cannot be run by ONNX Runtime: {' '.join(str(error).split())[:200]}") from error
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, images_NHWC: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Run a batch, uint8 (N, H, W, C), to named outputs."""
        return dict(zip(self._outputs, self._session.run(self._outputs, {self._input: images_NHWC}), strict=True))
