"""Classification behind an artifact's graph: logits → probabilities → label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from components.records import Preprocess


class Classification:
    """A `Postprocess`; a prediction is a float32 array (C,) of probabilities."""

    fields: Mapping[str, str] = MappingProxyType({"label": "string", "score": "double", "probabilities": "double[]"})

    def predictions(self, outputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        """Return the softmax of the output `logits`, (N, C), one array (C,) an image."""
        logits = outputs["logits"].astype(np.float32, copy=False)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: npt.NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
        return list(probabilities)

    def restore(
        self,
        prediction: npt.NDArray[np.float32],
        size_hw: tuple[int, int],  # noqa: ARG002 - the seam's signature
        preprocess: Preprocess,  # noqa: ARG002
    ) -> npt.NDArray[np.float32]:
        """Return the prediction: it knows no pixels."""
        return prediction

    def columns(self, prediction: npt.NDArray[np.float32], classes: Sequence[str]) -> dict[str, Any]:
        """Return `label`, its `score` and the `probabilities` by class name."""
        best = int(prediction.argmax())
        return {
            "label": classes[best],
            "score": float(prediction[best]),
            "probabilities": {name: float(value) for name, value in zip(classes, prediction, strict=True)},
        }

    def told(self, prediction: npt.NDArray[np.float32], classes: Sequence[str]) -> tuple[str, str]:
        """Return the label and its score."""
        best = int(prediction.argmax())
        return classes[best], f"{prediction[best]:.4f}"

    def difference(
        self, prediction: npt.NDArray[np.float32], classes: Sequence[str], other: npt.NDArray[np.float32], other_classes: Sequence[str]
    ) -> tuple[float, bool]:
        """Return the largest absolute difference of a class's probability, and whether the labels are the same."""
        order = [other_classes.index(name) for name in classes]
        same = classes[int(prediction.argmax())] == other_classes[int(other.argmax())]
        return float(np.abs(prediction - other[order]).max()), same

    def likeness(self, *_: object) -> dict[str, float]:
        """Return nothing: `difference` says all."""
        return {}


plugin = Classification()
