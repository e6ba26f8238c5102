"""What is measured of every segmentation mask, to be judged by rules: its size, and which classes it holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from components.datasets.annotations import IGNORE, Mask


class MaskMeasures(NamedTuple):
    """What a mask holds.

    Attributes:
        height: In pixels.
        width: In pixels.
        classes: The classes that some of its pixels hold, rising.
        undeclared: The values of other pixels that belong to no class and are not 255, which is ignored; rising.
    """

    height: int
    width: int
    classes: list[int]
    undeclared: list[int]


def measure_mask(mask_HW: Mask, num_classes: int) -> MaskMeasures:
    """Look at a mask, uint8 (H, W), of a dataset that declares so many classes."""
    values = np.flatnonzero(np.bincount(mask_HW.ravel(), minlength=256))
    declared, (height, width) = values < num_classes, mask_HW.shape
    return MaskMeasures(height, width, values[declared].tolist(), values[~declared & (values != IGNORE)].tolist())
