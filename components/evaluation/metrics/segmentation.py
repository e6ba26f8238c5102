"""Segmentation: a class for each pixel. A prediction is uint8 (H, W) of class indices, a target the same with 255 where nothing is judged.

Both are of the upright original's size, or of one size of the caller's choosing.

Legend: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.datasets.annotations import IGNORE, MASK_PNG, read_mask
from components.errors import DataError

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.uint8]

#: Pixels either side within which two boundaries are the same, as a share of the image's diagonal: Perazzi et al. 2016 (DAVIS).
BOUNDARY_TOLERANCE = 0.008
_PIXELS_AT_ONCE = 2**23


class Segmentation:
    """Evaluator of segmentation.

    Args:
        classes: The class names in order.
    """

    metric = "miou"

    def __init__(self, classes: Sequence[str]) -> None:
        if len(classes) < 2:
            raise DataError(f"found {len(classes)} class ({', '.join(classes)}); segmentation needs at least 2 (one may be the background)")
        self.classes = list(classes)

    def targets(self, rows: pd.DataFrame) -> list[Mask]:
        """Return the masks of the column `mask_png`, decoded.

        Raises:
            DataError: An image has no mask, or it holds what is no class.
        """
        if MASK_PNG not in rows:
            raise DataError("no image has a mask, which segmentation needs; is the dataset labelled for another task?")
        if rows[MASK_PNG].isna().any():
            without = rows.get("image_id", pd.Series(range(len(rows)), index=rows.index))[rows[MASK_PNG].isna()]
            raise DataError(f"{without.iloc[0]} has no mask: nobody has annotated it, nor {len(without) - 1} other images. Annotate or remove them")
        masks = [read_mask(content) for content in rows[MASK_PNG]]
        for name, mask in zip(rows.get("image_id", range(len(rows))), masks, strict=True):
            unknown = set(np.unique(mask).tolist()) - set(range(len(self.classes))) - {IGNORE}
            if unknown:
                raise DataError(f"{name}: its mask holds {min(unknown)}, which is no class; expected 0 to {len(self.classes) - 1}, or 255")
        return masks

    def statistics(self, predictions: Sequence[Any], targets: Sequence[Any]) -> FloatArray:
        """Return what each image adds to the metrics, float64 (N, C² + 4 C).

        First the pixels of each class (row) that were given each class (column); then for each class its boundary's pixels that were met, those
        there are, the predicted boundary's pixels that meet one, and those there are.

        Raises:
            DataError: A prediction has another size than its target, or holds what is no class.
        """
        num_classes = len(self.classes)
        rows = []
        for number, (given, target) in enumerate(zip(predictions, targets, strict=True)):
            prediction = given
            if prediction.shape == (1, 1):  # one answer for all pixels, as the baseline gives
                prediction = np.broadcast_to(prediction, target.shape)
            if prediction.shape != target.shape:
                raise DataError(f"the prediction of image {number} has the shape {prediction.shape}, its mask {target.shape}; expected the same")
            if prediction.size and prediction.max() >= num_classes:
                raise DataError(f"the prediction of image {number} holds {prediction.max()}, which is no class; expected 0 to {num_classes - 1}")
            judged = target != IGNORE
            counts = np.zeros(num_classes**2)
            for band in _bands(target.shape):
                pairs = target[band][judged[band]].astype(np.int64) * num_classes + prediction[band][judged[band]]
                counts += np.bincount(pairs, minlength=num_classes**2)
            rows.append(np.concatenate([counts, _boundaries(prediction, target, judged, num_classes)]))
        return np.stack(rows) if rows else np.empty((0, num_classes**2 + 4 * num_classes))

    def score(self, statistics: FloatArray, weights: FloatArray | None = None) -> dict[str, float]:
        """Return miou and dice (means over the classes that are there or were predicted), pixel accuracy and the mean boundary F-score.

        Raises:
            DataError: There is no image, or none of its pixels is judged.
        """
        table = self._class_table(statistics, weights)
        matrix = self._matrix(statistics, weights)
        if not matrix.sum():
            raise DataError("no pixel to score; expected an image with labelled pixels")
        return {
            "miou": float(np.nanmean(table["iou"])),
            "dice": float(np.nanmean(table["dice"])),
            "pixel_accuracy": float(matrix.trace() / matrix.sum()),
            "boundary_f": float(np.nanmean(table["boundary_f"])) if np.isfinite(table["boundary_f"]).any() else float("nan"),
        }

    def per_class(self, statistics: FloatArray) -> pd.DataFrame:
        """Return support (images that show it), iou, dice, precision, recall and boundary F-score of each class; NaN where it is nowhere."""
        matrices = statistics[:, : len(self.classes) ** 2].reshape(-1, len(self.classes), len(self.classes))
        support = (matrices.sum(axis=2) > 0).sum(axis=0)
        table = self._class_table(statistics, None)
        return pd.DataFrame({"class": self.classes, "support": support, **table})

    def baseline(self, targets: Sequence[Any]) -> Mask:
        """Return the commonest class as a mask of one pixel."""
        counts = sum((np.bincount(target.ravel(), minlength=256)[: len(self.classes)] for target in targets), np.zeros(len(self.classes)))
        return np.full((1, 1), int(np.argmax(counts)), dtype=np.uint8)

    def mistakes(self, statistics: FloatArray) -> list[tuple[int, str]]:
        """Return the images with pixels that were named wrongly, the largest share first."""
        matrices = statistics[:, : len(self.classes) ** 2].reshape(-1, len(self.classes), len(self.classes))
        total = np.maximum(matrices.sum(axis=(1, 2)), 1)
        share = 1 - np.trace(matrices, axis1=1, axis2=2) / total
        share[matrices.sum(axis=(1, 2)) == 0] = 0
        return [(int(image), self._caption(matrices[image], share[image])) for image in np.argsort(-share, kind="stable") if share[image] > 0]

    def confusion(self, statistics: FloatArray) -> pd.DataFrame:  # noqa: ARG002 - a row a pixel would be millions
        """Return no rows; `confusion_matrix` counts pixels."""
        return pd.DataFrame({"label": [], "predicted": []})

    def confusion_matrix(self, statistics: FloatArray) -> npt.NDArray[np.int64]:
        """Return how many pixels of each class (row) were given each class (column), int64 (C, C)."""
        return self._matrix(statistics, None).astype(np.int64)

    def _caption(self, matrix: FloatArray, share: float) -> str:
        wrong = matrix - np.diag(np.diag(matrix))
        truth, given = np.unravel_index(int(wrong.argmax()), wrong.shape)
        return f"{share:.1%} wrong, most: {self.classes[int(truth)]} taken for {self.classes[int(given)]}"

    def _matrix(self, statistics: FloatArray, weights: FloatArray | None) -> FloatArray:
        if not len(statistics):
            raise DataError("no image to score; expected at least one")
        cells = statistics[:, : len(self.classes) ** 2]
        total: FloatArray = (cells.sum(axis=0) if weights is None else weights @ cells).reshape(len(self.classes), len(self.classes))
        return total

    def _class_table(self, statistics: FloatArray, weights: FloatArray | None) -> dict[str, FloatArray]:
        matrix = self._matrix(statistics, weights)
        hits, there, given = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        cells = statistics[:, len(self.classes) ** 2 :]
        met, boundary, meeting, drawn = (cells.sum(axis=0) if weights is None else weights @ cells).reshape(4, len(self.classes))
        recall, precision = _ratio(met, boundary), _ratio(meeting, drawn)
        known = (boundary > 0) | (drawn > 0)
        precision, recall = np.nan_to_num(precision), np.nan_to_num(recall)
        return {
            "iou": _ratio(hits, there + given - hits),
            "dice": _ratio(2 * hits, there + given),
            "precision": _ratio(hits, given),
            "recall": _ratio(hits, there),
            "boundary_f": np.where(known, np.nan_to_num(_ratio(2 * precision * recall, precision + recall)), np.nan),
        }


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    ratio: FloatArray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratio


def _boundaries(prediction: Mask, target: Mask, judged: npt.NDArray[np.bool_], num_classes: int) -> FloatArray:
    """Return for each class boundary pixels met, there, meeting and drawn: the F-measure of Csurka et al. 2013 and DAVIS, as sums."""
    reach = max(1.0, np.ceil(BOUNDARY_TOLERANCE * float(np.hypot(*target.shape))))
    counts = np.zeros((4, num_classes))
    for label in np.union1d(np.unique(target[judged]), np.unique(prediction[judged])).astype(int):
        edges = [_edge((mask == label) & judged) & judged for mask in (target, prediction)]
        counts[1, label], counts[3, label] = edges[0].sum(), edges[1].sum()
        if counts[1, label] and counts[3, label]:
            counts[0, label] = (edges[0] & _near(edges[1], reach)).sum()
            counts[2, label] = (edges[1] & _near(edges[0], reach)).sum()
    return counts.ravel()


def _bands(shape: tuple[int, ...]) -> list[slice]:
    """Return rows of an image that are worked on at once: 64-bit numbers for all pixels of a very large one take gigabytes."""
    step = max(1, _PIXELS_AT_ONCE // shape[1])
    return [slice(first, first + step) for first in range(0, shape[0], step)]


def _near(edge: npt.NDArray[np.bool_], reach: float) -> npt.NDArray[np.bool_]:
    """Return the pixels that are at most `reach` pixels from an edge."""
    from scipy.ndimage import distance_transform_edt

    near, margin = np.zeros_like(edge), int(reach)
    for band in _bands(edge.shape):
        low = max(0, band.start - margin)
        far = ~edge[low : band.stop + margin]
        if not far.all():  # else there is nothing to be near to
            near[band] = (distance_transform_edt(far) <= reach)[band.start - low :][: band.stop - band.start]
    return near


def _edge(region: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the pixels of a region that have a neighbour above, below, left or right outside of it."""
    edge = np.zeros_like(region)
    edge[:, :-1] |= region[:, :-1] & ~region[:, 1:]
    edge[:, 1:] |= region[:, 1:] & ~region[:, :-1]
    edge[:-1] |= region[:-1] & ~region[1:]
    edge[1:] |= region[1:] & ~region[:-1]
    return edge


plugin = Segmentation
