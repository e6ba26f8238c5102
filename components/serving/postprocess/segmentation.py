"""Segmentation behind an artifact's graph: the class of each pixel, at the original's size."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from components.datasets.masks import Mask, mask_png
from components.records import Preprocess
from components.serving.image import unfit_mask

#: Two masks say the same if at most this share of their pixels differs.
SAME_SHARE = 0.01


class Segmentation:
    """A `Postprocess`; a prediction is a mask, uint8 (H, W) of class indices."""

    fields: Mapping[str, str] = MappingProxyType({"label": "string", "shares": "double[]", "mask": "string"})

    def predictions(self, outputs: Mapping[str, npt.NDArray[Any]]) -> list[Mask]:
        """Return the masks of the output `mask`, (N, H, W), one (H, W) an image."""
        return list(outputs["mask"].astype(np.uint8, copy=False))

    def restore(self, prediction: Mask, size_hw: tuple[int, int], preprocess: Preprocess) -> Mask:
        """Return the mask at the original's size; what `crop` cut off gets the class of the nearest pixel that the network saw."""
        return unfit_mask(prediction, size_hw, preprocess)

    def columns(self, prediction: Mask, classes: Sequence[str]) -> dict[str, Any]:
        """Return the commonest class as `label`, each class's share of the pixels as `shares`, and the `mask`: an indexed PNG in base64."""
        counts = np.bincount(prediction.ravel(), minlength=len(classes))[: len(classes)]
        return {
            "label": classes[int(counts.argmax())],
            "shares": {name: float(count) for name, count in zip(classes, counts / max(prediction.size, 1), strict=True)},
            "mask": base64.b64encode(mask_png(prediction)).decode("ascii"),
        }

    def told(self, prediction: Mask, classes: Sequence[str]) -> tuple[str, str]:
        """Return the classes that are there with their share of the pixels, the largest first."""
        shares = np.bincount(prediction.ravel(), minlength=len(classes))[: len(classes)] / max(prediction.size, 1)
        return ", ".join(f"{classes[label]} {shares[label]:.1%}" for label in np.argsort(-shares, kind="stable") if shares[label]), ""

    def difference(self, prediction: Mask, classes: Sequence[str], other: Mask, other_classes: Sequence[str]) -> tuple[float, bool]:
        """Return the share of the pixels that differ, and whether it is at most 1%."""
        order = np.array([classes.index(name) for name in other_classes], dtype=np.uint8)
        share = float((prediction != order[other]).mean())
        return share, share <= SAME_SHARE

    def likeness(self, prediction: Mask, classes: Sequence[str], other: Mask, other_classes: Sequence[str]) -> dict[str, float]:
        """Return `pixel_agreement`, the share of the pixels that have the same class."""
        return {"pixel_agreement": 1 - self.difference(prediction, classes, other, other_classes)[0]}


plugin = Segmentation()
