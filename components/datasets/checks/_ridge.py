"""Out-of-fold class probabilities by ridge regression in closed form.

What a fold's model learns from is the whole less the fold: of the Gram matrix too (Hastie, Tibshirani and Friedman 2009, "The
elements of statistical learning", 3.4.1), so that one pass over the features serves all folds. With more features than images the same
model is solved in its dual form (Saunders, Gammerman and Vovk 1998, "Ridge regression learning algorithm in dual variables").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.progress import bar

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

#: A share of the features' variance; the one that makes the first fold's labels likeliest is taken.
PENALTIES = (0.003, 0.01, 0.03, 0.1)
_ROWS = 4096


class OutOfFold(NamedTuple):
    """What the models of the other folds say of each image."""

    loss: float
    """The mean negative log likelihood of the labels, in nats."""
    probabilities: npt.NDArray[np.float64]
    """(N, classes)"""


def out_of_fold(described: npt.NDArray[np.float16], labels: Indices, fold: Indices) -> OutOfFold:
    """Judge each image by a model of the other folds.

    Args:
        described: float16 (N, D), the features.
        labels: N indices, every class among them.
        fold: N numbers from 0.
    """
    order = np.argsort(fold, kind="stable")
    sides = np.split(order, np.flatnonzero(np.diff(fold[order])) + 1)
    targets = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    mean = targets.mean(0)
    scores = np.empty_like(targets)
    with bar("judging labels", len(labels)) as progress:
        model = (_Primal if described.shape[1] < len(labels) else _Dual)(_Scaled(described), targets - mean, sides)
        tried = {penalty: model.scores(0, penalty) + mean for penalty in PENALTIES}
        penalty = min(tried, key=lambda value: _calibrated(tried[value], labels[sides[0]]).loss)
        for number, side in enumerate(sides):
            scores[side] = tried[penalty] if number == 0 else model.scores(number, penalty) + mean
            progress.update(len(side))
    return _calibrated(scores, labels)


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


class _Primal:
    """For more images than features."""

    def __init__(self, features: _Scaled, targets: Floats, sides: list[Indices]) -> None:
        from scipy.linalg.blas import ssyrk

        width = features.described.shape[1]
        self._features, self._sides, self._num = features, sides, len(targets)
        self._grams, self._moments = [], []
        for side in sides:
            gram, moment = np.zeros((width, width), np.float32, order="F"), np.zeros((width, targets.shape[1]), np.float32)
            for some, rows in features.rows(side):
                gram = ssyrk(1.0, rows.T, beta=1.0, c=gram, overwrite_c=1, lower=1)
                moment += rows.T @ targets[some]
            self._grams.append(gram)
            self._moments.append(moment)

    def scores(self, number: int, penalty: float) -> Floats:
        """Return the scores of a fold's images by the model of the others."""
        from scipy.linalg import cho_factor, cho_solve

        others = [index for index in range(len(self._sides)) if index != number]
        gram = self._grams[others[0]].copy(order="F")
        for index in others[1:]:
            gram += self._grams[index]
        gram[np.diag_indices(len(gram))] += penalty * self._num
        factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        weights = cho_solve(factor, sum(self._moments[index] for index in others), check_finite=False)
        return np.concatenate([rows @ weights for _, rows in self._features.rows(self._sides[number])])


class _Dual:
    """For more features than images: by way of the images' inner products."""

    def __init__(self, features: _Scaled, targets: Floats, sides: list[Indices]) -> None:
        everything = np.concatenate([rows for _, rows in features.rows(np.arange(len(targets)))])
        self._products, self._targets, self._sides = everything @ everything.T, targets, sides

    def scores(self, number: int, penalty: float) -> Floats:
        """Return the scores of a fold's images by the model of the others."""
        from scipy.linalg import cho_factor, cho_solve

        side = self._sides[number]
        others = np.setdiff1d(np.arange(len(self._targets)), side)
        products = self._products[np.ix_(others, others)]
        products[np.diag_indices(len(others))] += penalty * len(self._targets)
        factor = cho_factor(products, lower=True, overwrite_a=True, check_finite=False)
        found: Floats = self._products[np.ix_(side, others)] @ cho_solve(factor, self._targets[others], check_finite=False)
        return found


def _calibrated(scores: Floats, labels: Indices) -> OutOfFold:
    """Turn scores into probabilities by the temperature that makes the labels likeliest."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    wide, own = scores.astype(np.float64), np.arange(len(labels))

    def loss(log_sharpness: float) -> float:
        return -float(log_softmax(np.exp(log_sharpness) * wide, axis=1)[own, labels].mean())

    best = minimize_scalar(loss, bounds=(-3, 6), method="bounded", options={"xatol": 0.01})
    return OutOfFold(float(best.fun), np.exp(log_softmax(np.exp(best.x) * wide, axis=1)))
