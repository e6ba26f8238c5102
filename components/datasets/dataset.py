"""A dataset that is there to be read: what it is called, its manifest, its images by position."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import pandas as pd
import pyarrow as pa

from components.datasets.annotations import MASK_PNG, Mask, read_mask
from components.datasets.manifest import DatasetInfo, frame_of, read_dataset, read_table
from components.datasets.shards import ShardReader
from components.errors import DataError

if TYPE_CHECKING:
    from components.datasets.torch_images import TorchImages


class Shards(Protocol):
    """Where image bytes are read from: local tars, or an object store's byte ranges."""

    def read(self, shard: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` of a shard."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


def with_masks(rows: pd.DataFrame, shards: Shards) -> pd.DataFrame:
    """Return a manifest's rows with the column `mask_png`: the bytes of each mask, None where there is none; as they are if no row has one.

    Args:
        rows: With the columns mask_shard, mask_offset, mask_length.
        shards: Where the bytes are.
    """
    if not rows["mask_shard"].notna().any():
        return rows
    places = zip(rows["mask_shard"], rows["mask_offset"], rows["mask_length"], strict=True)
    contents = [None if shard is None else shards.read(str(shard), int(offset), int(length)) for shard, offset, length in places]
    return rows.assign(**{MASK_PNG: pd.Series(contents, index=rows.index, dtype=object)})


class Dataset:
    """A version of a labelled dataset. Nothing touches image bytes until an image is asked for.

    Args:
        info: What dataset.yaml says.
        table: The manifest.
        shards: Where the bytes are.
    """

    def __init__(self, info: DatasetInfo, table: pa.Table, shards: Shards) -> None:
        self.info = info
        self.table = table
        self.shards = shards

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """Open a dataset in a folder.

        Raises:
            DataError: It is missing or damaged.
        """
        return cls(read_dataset(folder), read_table(folder), ShardReader(folder))

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """One row an image; texts are str or None."""
        return frame_of(self.table)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def image(self, index: int) -> bytes:
        """Return the bytes of an image, one positioned read."""
        return self.shards.read(*(self._cell(name, index) for name in ("shard", "offset", "length")))

    def mask(self, index: int) -> Mask | None:
        """Return the class indices of an image's mask, uint8 (H, W), None where it has none.

        Raises:
            DataError: The mask is damaged.
        """
        place = [self._cell(name, index) for name in ("mask_shard", "mask_offset", "mask_length")]
        if place[0] is None:
            return None
        try:
            return read_mask(self.shards.read(*place))
        except DataError as error:
            raise DataError(f"{self._cell('image_id', index)}: {error}") from None

    def torch(self, size: int | tuple[int, int] | None = None) -> TorchImages:
        """Return the images as a torch Dataset of (uint8 (3, H, W), target); see `TorchImages`.

        Args:
            size: Height and width in pixels to resize to; None: as they are.
        """
        from components.datasets.torch_images import TorchImages

        return TorchImages(self, size)

    def close(self) -> None:
        """Let go of the shards."""
        self.shards.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _cell(self, column: str, index: int) -> Any:
        return self.table.column(column)[index].as_py()
