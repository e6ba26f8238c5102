"""Which training images a quantised artifact is calibrated on, and when there are too few of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from components.datasets.annotations import classes_shown
from components.records import Refusal

if TYPE_CHECKING:
    from components.protocols import Array

#: Ranges taken from fewer images are those of single pictures: the commonest cause of worthless INT8 models.
LEAST_IMAGES = 128
LEAST_PER_CLASS = 8


def choose(rows: pd.DataFrame, classes: Sequence[str], num_images: int) -> tuple[Array, list[Refusal]]:
    """Choose training images for calibration, the classes in turn, so that each has as equal a share as it can fill.

    An image of several classes takes the turn of the rarest of them.

    Args:
        rows: The training split's rows; images whose rows name no class count as of one class.
        classes: The model's classes.
        num_images: How many are wanted; more if that is what `LEAST_PER_CLASS` of every class needs.

    Returns:
        Sorted indices into `rows`, int64, and why they are too few, if they are.
    """
    shown = classes_shown(rows, classes)
    found = Counter(name for names in shown for name in names)
    rarest = np.array([min(names, key=lambda name: (found[name], name), default="") for names in shown], dtype=object)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    turn = pd.Series(rarest[shuffled]).groupby(rarest[shuffled]).cumcount().to_numpy()
    wanted = max(num_images, LEAST_PER_CLASS * (len(classes) if found else 1))
    chosen = np.sort(shuffled[np.argsort(turn, kind="stable")][:wanted])
    refusals = []
    if len(chosen) < LEAST_IMAGES:
        text = f"{len(chosen)} training images to calibrate on; INT8 needs at least {LEAST_IMAGES}"
        refusals.append(Refusal(budget="calibration_images", found=len(chosen), limit=LEAST_IMAGES, text=text))
    if found:
        counts = {name: sum(name in shown[index] for index in chosen) for name in classes}
        fewest = min(counts, key=lambda name: counts[name])
        if counts[fewest] < LEAST_PER_CLASS:
            text = f"{counts[fewest]} training images of class '{fewest}' to calibrate on; INT8 needs at least {LEAST_PER_CLASS} of every class"
            refusals.append(Refusal(budget="calibration_class_images", found=counts[fewest], limit=LEAST_PER_CLASS, text=text))
    return chosen, refusals
