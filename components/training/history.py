"""history.csv: one line an epoch, the same whenever the weights are."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_history(path: Path, history: Sequence[Mapping[str, float]], metric: str = "") -> None:
    """Write the epochs.

    Args:
        path: The file.
        history: One mapping an epoch with the same keys: epoch, train_loss, val_loss where the evaluator knows one, val_METRIC, lr.
        metric: Names the column where no epoch was trained, so that what plots the file finds it.
    """
    columns = list(history[0]) if history else ["epoch", "train_loss", f"val_{metric}", "lr"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
