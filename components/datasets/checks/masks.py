"""What is measured of every segmentation mask, to be judged by rules: its size, ids that are not declared, pixels of each class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.datasets.annotations import IGNORE, Mask


class MaskMeasures(NamedTuple):
    """What a mask holds.

    Attributes:
        height: In pixels.
        width: In pixels.
        pixels: int64 (256,): how many pixels hold each value.
    """

    height: int
    width: int
    pixels: npt.NDArray[np.int64]


def measure_mask(mask_HW: Mask) -> MaskMeasures:
    """Count the pixels of a mask, uint8 (H, W), by their value."""
    return MaskMeasures(mask_HW.shape[0], mask_HW.shape[1], np.bincount(mask_HW.ravel(), minlength=256))


def mask_table(
    image_ids: Sequence[str], masks: Iterable[MaskMeasures], heights: Sequence[int | None], widths: Sequence[int | None], num_classes: int
) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """Hold masks against their images and the declared classes.

    Args:
        image_ids: Of N images that have a mask.
        masks: Theirs.
        heights: N heights of the upright images in pixels; null where nobody knows.
        widths: N widths, in the same way.
        num_classes: How many classes dataset.yaml declares: values from this number on belong to none, but 255, which is ignored.

    Returns:
        A row a mask, and the pixels of each class, int64 (N, `num_classes`). The columns:

        image_id, height, width   of the image
        mask_height, mask_width   of the mask
        same_size                 they are equal; null: the image's size is not known
        undeclared                the values of its pixels that are no class, such as "21, 37", or null
        undeclared_pixels         how many pixels hold them
        ignored                   the share of its pixels that is 255
        num_classes               how many classes are on it
    """
    measured = list(masks)
    counts = np.array([each.pixels for each in measured], dtype=np.int64).reshape(len(measured), 256)
    values = np.arange(256)
    stray = np.where((values >= num_classes) & (values != IGNORE), counts, 0)
    of_classes = counts[:, :num_classes]
    frame = pd.DataFrame(
        {
            "image_id": pd.Series(list(image_ids), dtype=object),
            "height": pd.array(heights, dtype="Int32"),
            "width": pd.array(widths, dtype="Int32"),
            "mask_height": np.array([each.height for each in measured], dtype=np.int32),
            "mask_width": np.array([each.width for each in measured], dtype=np.int32),
        }
    )
    frame["same_size"] = (frame["height"] == frame["mask_height"]) & (frame["width"] == frame["mask_width"])
    texts = [", ".join(map(str, np.flatnonzero(row))) or None for row in stray]
    frame["undeclared"] = pd.Series(texts, dtype=object)
    frame["undeclared_pixels"] = stray.sum(axis=1)
    frame["ignored"] = counts[:, IGNORE] / np.maximum(1, counts.sum(axis=1))
    frame["num_classes"] = (of_classes > 0).sum(axis=1)
    return frame, of_classes
