"""What an artifact is held against: the eager model on the pinned test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.errors import DataError
from components.protocols import plugin
from components.training.inference import predict_originals
from components.training.runtime import plain_runtime

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from components.datasets.prepared import Prepared
    from components.protocols import Array
    from components.records import ModelSpec


@dataclass(frozen=True)
class Reference:
    """The eager model's answers.

    Attributes:
        spec: The model's own spec, which an artifact's metadata must repeat.
        images: uint8 (N, H, W, C), the test images.
        rows: Their annotations.
        predictions: One an image, of the eager model in float32, in the pixels of the originals.
    """

    spec: ModelSpec
    images: Array
    rows: pd.DataFrame
    predictions: Sequence[Any]


def eager_reference(model: nn.Module, spec: ModelSpec, prepared: Prepared) -> Reference:
    """Run the eager model in float32 on the CPU over all test images of its size.

    Raises:
        DataError: The test split is empty.
    """
    test = prepared.split("test", spec.preprocess.size_hw)
    if not len(test.rows):
        raise DataError(f"{prepared.path}: the test split is empty; an artifact is proven on real test images. Raise split.shares.test")
    task = plugin("components.tasks", "task", spec.task)
    predictions = predict_originals(task, model, test, spec.preprocess, runtime=plain_runtime("cpu"), description="reference")
    return Reference(spec, test.images, test.rows, predictions)
