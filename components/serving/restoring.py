"""Predictions in the pixels of the upright original: what is judged, shown and served; a network answers in its own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.protocols import Postprocess
from components.records import Preprocess

if TYPE_CHECKING:
    import pandas as pd

SizeHW = tuple[int, int]


def restored(postprocess: Postprocess, predictions: Sequence[Any], sizes_hw: Sequence[SizeHW], preprocess: Preprocess) -> list[Any]:
    """Return predictions in the pixels of their originals.

    Args:
        postprocess: Of the task.
        predictions: One an image, in the network's pixels.
        sizes_hw: Height and width of each original.
        preprocess: How the originals became what the network saw.
    """
    pairs = zip(predictions, sizes_hw, strict=True)
    return [postprocess.restore(prediction, size_hw, preprocess) for prediction, size_hw in pairs]


def sizes_of(rows: pd.DataFrame, preprocess: Preprocess) -> list[SizeHW]:
    """Return height and width of each original, from its row; where rows name none, the images are as large as the network takes them."""
    if "height" not in rows:
        return [preprocess.size_hw] * len(rows)
    return [(int(height), int(width)) for height, width in zip(rows["height"], rows["width"], strict=True)]
