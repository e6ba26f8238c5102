"""Which training images a quantised artifact is calibrated on, and when there are too few of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from components.records import Refusal

if TYPE_CHECKING:
    from components.protocols import Array

#: Ranges taken from fewer images are those of single pictures: the commonest cause of worthless INT8 models.
LEAST_IMAGES = 128
LEAST_PER_CLASS = 8


def choose(rows: pd.DataFrame, classes: Sequence[str], num_images: int) -> tuple[Array, list[Refusal]]:
    """Choose training images for calibration, the classes in turn, so that each has as equal a share as it can fill.

    Args:
        rows: The training split's rows; without a column `label` all count as of one class.
        classes: The model's classes.
        num_images: How many are wanted; more if that is what `LEAST_PER_CLASS` of every class needs.

    Returns:
        Sorted indices into `rows`, int64, and why they are too few, if they are.
    """
    labels = rows["label"].to_numpy() if "label" in rows else np.full(len(rows), "")
    names = list(classes) if "label" in rows else [""]
    shuffled = np.random.default_rng(0).permutation(len(rows))
    turn = pd.Series(labels[shuffled]).groupby(labels[shuffled]).cumcount().to_numpy()
    wanted = max(num_images, LEAST_PER_CLASS * len(names))
    chosen = np.sort(shuffled[np.argsort(turn, kind="stable")][:wanted])
    refusals = []
    if len(chosen) < LEAST_IMAGES:
        text = f"{len(chosen)} training images to calibrate on; INT8 needs at least {LEAST_IMAGES}"
        refusals.append(Refusal(budget="calibration_images", found=len(chosen), limit=LEAST_IMAGES, text=text))
    if "label" in rows:
        counts = {name: int((labels[chosen] == name).sum()) for name in names}
        fewest = min(counts, key=lambda name: counts[name])
        if counts[fewest] < LEAST_PER_CLASS:
            text = f"{counts[fewest]} training images of class '{fewest}' to calibrate on; INT8 needs at least {LEAST_PER_CLASS} of every class"
            refusals.append(Refusal(budget="calibration_class_images", found=counts[fewest], limit=LEAST_PER_CLASS, text=text))
    return chosen, refusals
