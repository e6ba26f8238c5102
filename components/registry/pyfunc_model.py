"""The bundle as an MLflow model; MLflow runs this file where the model is loaded.

It needs ONNX Runtime, no torch, and nothing of Darkroom but what is packed with it.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from PIL import Image

from components.serving.bundle import Bundle

_BATCH = 64


class BundleModel(PythonModel):
    """Images in a column `image` → the columns of the task, pixels being those of the image as it was given."""

    def load_context(self, context: Any) -> None:
        """Open the bundle that lies among the model's artifacts."""
        self._bundle = Bundle.open(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Predict one row an image.

        Args:
            context: MLflow's.
            model_input: A column `image`: an image file's bytes, the same in base64, or pixels, uint8 (H, W), (H, W, 1) or (H, W, 3).
            params: None are known.
        """
        contents = [image_file(value) for value in model_input["image"]]
        names = [f"row {index}" for index in model_input.index]
        predictions = []
        for start in range(0, len(contents), _BATCH):
            predictions += self._bundle.predict(contents[start : start + _BATCH], names[start : start + _BATCH])
        rows = [self._bundle.columns(prediction) for prediction in predictions]
        return pd.DataFrame({name: [_in_class_order(row[name], self._bundle.classes) for row in rows] for name in self._bundle.postprocess.fields})


def _in_class_order(value: Any, classes: Sequence[str]) -> Any:
    return [value[name] for name in classes] if isinstance(value, dict) else value


def image_file(value: Any) -> bytes:
    """Return an image of any of the forms that `predict` takes as the bytes of an image file, pixel for pixel."""
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError(f"an image given as text has to be base64; found {value[:40]!r}…: {error}") from None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    pixels = np.asarray(value)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(f"an image given as an array has to be uint8 (H, W), (H, W, 1) or (H, W, 3); found {pixels.dtype} {pixels.shape}")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


set_model(BundleModel())
