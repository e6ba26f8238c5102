"""The pinned test images: what every model version is judged on, from original bytes through its bundle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components import progress
from components.datasets.dataset import with_masks
from components.datasets.manifest import dataset_ref, given_annotations, read_manifest
from components.datasets.shards import ShardReader
from components.datasets.splits import read_splits
from components.errors import DataError
from components.protocols import Evaluator
from components.records import DatasetRef
from components.serving.bundle import Bundle

_BATCH = 64


@dataclass(frozen=True)
class TestImages:
    """The test side of a dataset.

    Attributes:
        folder: The dataset.
        dataset: Which bytes these are.
        rows: The manifest's rows of the test images.
        train: The manifest's rows of the training images.
    """

    __test__ = False  # pytest: no test

    folder: Path
    dataset: DatasetRef
    rows: pd.DataFrame
    train: pd.DataFrame

    def targets(self, evaluator: Evaluator, rows: pd.DataFrame) -> Sequence[Any]:
        """Return one target an image of `rows` or `train`, masks read from the shards."""
        with ShardReader(self.folder) as reader:
            return evaluator.targets(with_masks(rows, reader))

    @property
    def groups(self) -> list[str | None] | None:
        """The group of each test image; None if none has one."""
        return self.rows["group"].tolist() if self.rows["group"].notna().any() else None

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted test images with their annotations, and their groups if there are any."""
        columns = ["sha256", *given_annotations(self.rows), *(["group"] if self.groups else [])]
        rows = sorted(zip(*(self.rows[column].astype(str) for column in columns), strict=True))
        return hashlib.sha256(repr(rows).encode()).hexdigest()


def open_test_images(project: Path, data_name: str) -> TestImages:
    """Return the test side of data/NAME by data/splits.parquet.

    Raises:
        DataError: The dataset or its split is missing, they do not belong together, or there is no test image.
    """
    folder, splits = project / "data" / data_name, project / "data" / "splits.parquet"
    manifest, sides = read_manifest(folder), read_splits(splits)
    side = manifest["image_id"].map(sides)
    if not manifest["image_id"].isin(sides.index).all():
        raise DataError(f"{splits} is about other images than {folder} holds now; run split again")
    rows = manifest[side == "test"].reset_index(drop=True)
    if rows.empty:
        raise DataError(f"{splits} has no test image; models cannot be compared. Raise split.shares.test")
    return TestImages(folder, dataset_ref(folder, manifest), rows, manifest[side == "train"].reset_index(drop=True))


def predict_all(bundle: Bundle, images: TestImages, description: str) -> list[Any]:
    """Return a bundle's prediction of every test image, from its original bytes."""
    predictions: list[Any] = []
    with ShardReader(images.folder) as reader, progress.bar(description, len(images.rows)) as bar:
        for start in range(0, len(images.rows), _BATCH):
            rows = images.rows.iloc[start : start + _BATCH]
            places = zip(rows["shard"], rows["offset"], rows["length"], strict=True)
            contents = [reader.read(str(shard), int(offset), int(length)) for shard, offset, length in places]
            predictions += bundle.predict(contents, list(rows["image_id"]))
            bar.update(len(rows))
    return predictions


def statistics_of(folder: Path, evaluator: Evaluator, images: TestImages, description: str) -> npt.NDArray[np.float64]:
    """Return what each test image adds to the metrics of the bundle in `folder`, float64 (N, K)."""
    bundle = Bundle.open(folder, num_threads=len(os.sched_getaffinity(0)))
    predictions: Sequence[Any] = predict_all(bundle, images, description)
    statistics: npt.NDArray[np.float64] = evaluator.statistics(predictions, images.targets(evaluator, images.rows))
    return statistics
