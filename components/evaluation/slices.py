"""Slices: the images that share a value of a manifest column (a camera, a site, a quarter of a size), and how the model does on each."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.evaluation.intervals import bootstrap
from components.progress import bar
from components.protocols import Evaluator

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

MAX_VALUES = 20
COLUMNS = ["column", "value", "images", "metric", "low", "high"]


def slice_labels(values: pd.Series) -> pd.Series | None:
    """Return the slice of each image: the value itself, the quarter of a numeric column with many values, or "(none)".

    None where the column makes no slices: more than 20 different texts, or everywhere the same.
    """
    missing = values.isna()
    distinct = values.dropna().nunique()
    if distinct > MAX_VALUES and pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        labels = _quarters(values.astype(np.float64))
    elif distinct <= MAX_VALUES:
        labels = values.map(lambda value: f"{value:.12g}" if isinstance(value, float) else str(value))
    else:
        return None
    labels = labels.astype(object).mask(missing, "(none)")
    return labels if labels.nunique() > 1 else None


def _quarters(values: pd.Series) -> pd.Series:
    edges = np.unique(np.quantile(values.dropna(), [0, 0.25, 0.5, 0.75, 1]))
    told = next(texts for digits in (4, 12, 17) if len(set(texts := [f"{edge:.{digits}g}" for edge in edges])) == len(edges))
    names = [f"{low} to {high}" for low, high in itertools.pairwise(told)]
    places = np.searchsorted(edges[1:-1], values.to_numpy(), side="left")  # a value on an edge belongs to the lower quarter
    return pd.Series([names[place] for place in np.minimum(places, len(names) - 1)], index=values.index)


def slice_table(
    evaluator: Evaluator, statistics: FloatArray, rows: pd.DataFrame, columns: Sequence[str], num_resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return one row a slice: column, value, images, the primary metric and its 95% interval; the worst first.

    Args:
        evaluator: Gives the metrics.
        statistics: What each image adds to them, float64 (N, K).
        rows: One row an image, in the order of the statistics; a column `group` counts as in `intervals.resample_weights`.
        columns: Columns of `rows` to cut along.
        num_resamples: Of each slice's bootstrap.
        seed: Of the draws.
    """
    slices: list[tuple[str, str, npt.NDArray[np.bool_]]] = []
    for column in columns:
        labels = slice_labels(rows[column])
        if labels is None:
            log.info("no slices along '%s': %d different values", column, rows[column].nunique(dropna=False))
            continue
        slices += [(column, value, (labels == value).to_numpy()) for value in sorted(labels.unique())]
    groups = rows["group"].to_numpy() if "group" in rows else None
    found: list[tuple[str, str, int, float, float, float]] = []
    with bar("slices", len(slices), "slices") as progress:
        for column, value, chosen in slices:
            of_slice = None if groups is None else groups[chosen].tolist()
            metric = bootstrap(evaluator, statistics[chosen], num_resamples, seed, of_slice).get(evaluator.metric)
            if metric is not None:  # a slice may show nothing that could be found
                found.append((column, value, int(chosen.sum()), metric.value, metric.low, metric.high))
            progress.update()
    return pd.DataFrame(found, columns=COLUMNS).sort_values(["metric", "column", "value"], ignore_index=True)
