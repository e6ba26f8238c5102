"""Out-of-fold class probabilities by ridge regression in closed form.

What a fold's model learns from is the whole less the fold: of the Gram matrix too (Hastie, Tibshirani and Friedman 2009, "The
elements of statistical learning", 3.4.1), so that one pass over the features serves all folds. With more features than images the same
model is solved in its dual form (Saunders, Gammerman and Vovk 1998, "Ridge regression learning algorithm in dual variables").
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from components.progress import bar

Floats = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: Tried in turn, a share of the features' variance; the one with the likeliest labels is taken.
PENALTIES = (0.003, 0.01, 0.03, 0.1)
_ROWS = 4096


def out_of_fold(described: npt.NDArray[np.float16], labels: Indices, fold: Indices) -> Probabilities:
    """Return each image's class probabilities by the model of the other folds.

    Args:
        described: float16 (N, D), the features.
        labels: N indices, every class among them.
        fold: N numbers from 0.

    Returns:
        float64 (N, classes).
    """
    order = np.argsort(fold, kind="stable")
    sides = np.split(order, np.flatnonzero(np.diff(fold[order])) + 1)
    targets = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    solve = _primal if described.shape[1] < len(labels) else _dual
    scores = {penalty: np.empty_like(targets) for penalty in PENALTIES}
    with bar("judging labels", len(sides) * len(PENALTIES), "models") as progress:
        for side, penalty, found in solve(_Scaled(described), targets - targets.mean(0), sides):
            scores[penalty][side] = found + targets.mean(0)
            progress.update()
    return min((_calibrated(found, labels) for found in scores.values()), key=lambda pair: pair[0])[1]


class _Scaled:
    """Features with mean 0 and standard deviation 1, made when a few rows are asked for."""

    def __init__(self, described: npt.NDArray[np.float16]) -> None:
        starts = range(0, len(described), _ROWS)
        self.described = described
        self.mean = sum(described[start : start + _ROWS].sum(0, dtype=np.float64) for start in starts) / len(described)
        squares = sum(((described[start : start + _ROWS] - self.mean) ** 2).sum(0) for start in starts) / len(described)
        self.scale = (1 / np.sqrt(squares + 1e-10)).astype(np.float32)
        self.mean = self.mean.astype(np.float32)

    def rows(self, chosen: Indices) -> Iterator[tuple[Indices, Floats]]:
        """Yield some rows at a time: their numbers and float32 (rows, D)."""
        for start in range(0, len(chosen), _ROWS):
            some = chosen[start : start + _ROWS]
            yield some, (self.described[some] - self.mean) * self.scale


def _primal(features: _Scaled, targets: Floats, sides: list[Indices]) -> Iterator[tuple[Indices, float, Floats]]:
    """Yield for each fold and penalty the fold's rows, the penalty, and the scores of those rows."""
    from scipy.linalg import cho_factor, cho_solve
    from scipy.linalg.blas import ssyrk

    width = features.described.shape[1]
    grams, moments = [], []
    for side in sides:
        gram, moment = np.zeros((width, width), np.float32, order="F"), np.zeros((width, targets.shape[1]), np.float32)
        for some, rows in features.rows(side):
            gram = ssyrk(1.0, rows.T, beta=1.0, c=gram, overwrite_c=1, lower=1)
            moment += rows.T @ targets[some]
        grams.append(gram)
        moments.append(moment)
    total, all_moments = np.sum(grams, axis=0), np.sum(moments, axis=0)
    for side, gram, moment in zip(sides, grams, moments, strict=True):
        weights = []
        for penalty in PENALTIES:
            left = np.asfortranarray(total - gram)
            left[np.diag_indices(width)] += penalty * len(targets)
            weights.append(cho_solve(cho_factor(left, lower=True, overwrite_a=True, check_finite=False), all_moments - moment, check_finite=False))
        scores = np.concatenate([rows @ np.concatenate(weights, axis=1) for _, rows in features.rows(side)])
        for penalty, found in zip(PENALTIES, np.split(scores, len(PENALTIES), axis=1), strict=True):
            yield side, penalty, found


def _dual(features: _Scaled, targets: Floats, sides: list[Indices]) -> Iterator[tuple[Indices, float, Floats]]:
    """Yield what `_primal` yields, by way of the images' inner products."""
    from scipy.linalg import cho_factor, cho_solve

    everything = np.concatenate([rows for _, rows in features.rows(np.arange(len(targets)))])
    products = everything @ everything.T
    for side in sides:
        others = np.setdiff1d(np.arange(len(targets)), side)
        for penalty in PENALTIES:
            left = products[np.ix_(others, others)]
            left[np.diag_indices(len(others))] += penalty * len(targets)
            yield side, penalty, products[np.ix_(side, others)] @ cho_solve(cho_factor(left, overwrite_a=True, lower=True), targets[others])


def _calibrated(scores: Floats, labels: Indices) -> tuple[float, Probabilities]:
    """Return the mean negative log likelihood of the labels at the best temperature, and the probabilities."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    wide, own = scores.astype(np.float64), np.arange(len(labels))

    def loss(log_sharpness: float) -> float:
        return -float(log_softmax(np.exp(log_sharpness) * wide, axis=1)[own, labels].mean())

    best = minimize_scalar(loss, bounds=(-3, 6), method="bounded", options={"xatol": 0.01})
    return float(best.fun), np.exp(log_softmax(np.exp(best.x) * wide, axis=1))
