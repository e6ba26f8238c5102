"""What training reads: decoded images of one size in memory-mapped files. `augment` writes it.

prepared.json   policy.json
{train,val,test}/rows.parquet            image_id, sha256, group if there are any, label, metadata columns
{train,val,test}/images-{H}x{W}.npy      uint8 (N, H, W, C)
train/order.npy                          int64: the images of one epoch; rare classes repeated
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.datasets.manifest import text_columns_as_objects
from components.errors import DataError
from components.records import PreparedRecord

RECORD, POLICY, ROWS, ORDER = "prepared.json", "policy.json", "rows.parquet", "order.npy"
SPLITS = ("train", "val", "test")

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PreparedSplit:
    """One side of the data at one size.

    Attributes:
        images: uint8 (N, H, W, C), memory-mapped.
        rows: image_id, sha256, group if there are any, label and the metadata columns; row n belongs to image n.
        order: int64, the indices of one epoch before shuffling; in train a rare class's images may stand several times.
    """

    images: Pixels
    rows: pd.DataFrame
    order: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prepared:
    """The folder `data/training`."""

    path: Path
    record: PreparedRecord
    policy: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open prepared data.

        Raises:
            DataError: It is missing or incomplete.
        """
        record = PreparedRecord.load(path / RECORD)
        try:
            policy: dict[str, Any] = json.loads((path / POLICY).read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"{path / POLICY} cannot be read: {error}; run augment again") from None
        return cls(path=path, record=record, policy=policy)

    def split(self, name: str, size_hw: tuple[int, int] | None = None) -> PreparedSplit:
        """Return one side.

        Args:
            name: train, val or test.
            size_hw: Height and width in pixels, one of `record.sizes`; None: the training size.

        Raises:
            DataError: There is no such size, or a file is missing or damaged.
        """
        size_hw = self.record.sizes[0] if size_hw is None else size_hw
        if size_hw not in self.record.sizes:
            stored = " and ".join(f"{height}×{width}" for height, width in self.record.sizes)
            raise DataError(f"{self.path} holds images of {stored} pixels, not {size_hw[0]}×{size_hw[1]}; set task.image_size and run augment again")
        folder = self.path / name
        try:
            images = np.load(images_file(folder, size_hw), mmap_mode="r", allow_pickle=False)
            rows = text_columns_as_objects(pq.read_table(folder / ROWS))
            order = np.load(folder / ORDER, allow_pickle=False) if name == "train" else np.arange(len(rows), dtype=np.int64)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{folder} cannot be read: {error}; run augment again") from None
        if len(images) != len(rows):
            raise DataError(f"{folder} is damaged: {len(images)} images for {len(rows)} rows; run augment again")
        return PreparedSplit(images=images, rows=rows, order=order)


def images_file(folder: Path, size_hw: tuple[int, int]) -> Path:
    """Return where the images of one side and size stand."""
    return folder / f"images-{size_hw[0]}x{size_hw[1]}.npy"


def write_split(
    folder: Path, rows: pd.DataFrame, batches: Iterable[Mapping[tuple[int, int], Pixels]], shapes: Mapping[tuple[int, int], tuple[int, ...]]
) -> None:
    """Write one side.

    The files are written, not mapped: a full disk then is an error and no signal that ends the process.

    Args:
        folder: The side's folder.
        rows: One row an image.
        batches: By height and width the next images, uint8 (n, H, W, C); together they are as many as the rows.
        shapes: Likewise the shape of all images.
    """
    folder.mkdir(parents=True)
    files: dict[tuple[int, int], BinaryIO] = {}
    try:
        for size, shape in shapes.items():
            files[size] = images_file(folder, size).open("wb")
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(files[size], header)
        for batch in batches:
            for size, images in batch.items():
                files[size].write(np.ascontiguousarray(images).data)
    finally:
        for file in files.values():
            file.close()
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, folder / ROWS, compression="zstd")
