"""What the writers of foreign layouts share: a row's annotations, where its image goes, the images' bytes as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.datasets.dataset import Dataset
from components.datasets.reading import is_image
from components.errors import DataError
from components.progress import bar

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Row:
    """What a manifest says of an image.

    Attributes:
        boxes: None: not annotated. `labels`, `ignore` and `polygons` (the rings of each box) are as long.
    """

    image_id: str
    height: int
    width: int
    split: str | None
    label: str | None
    boxes: list[list[float]] | None
    labels: list[str]
    ignore: list[bool]
    polygons: list[list[list[float]]]
    has_mask: bool


@dataclass(frozen=True)
class Place:
    """Where the image of a row goes: `path` below the folder, with `/` in it."""

    image_id: str
    path: str


_COLUMNS = ("image_id", "height", "width", "split", "label", "boxes_xyxy", "box_labels", "box_ignore", "polygons", "mask_sha256")


def row_cells(dataset: Dataset) -> Iterator[Row]:
    """Yield what the manifest says of each image, in order.

    Raises:
        DataError: An image's lists are of different lengths, or its size is not known.
    """
    for batch in dataset.table.select(_COLUMNS).to_batches(max_chunksize=10_000):
        for cells in batch.to_pylist():
            yield _row(cells)


def _row(cells: dict[str, Any]) -> Row:
    boxes, labels = cells["boxes_xyxy"], cells["box_labels"] or []
    count = len(boxes or [])
    ignore = cells["box_ignore"] or [False] * count
    polygons = cells["polygons"] or [[] for _ in range(count)]
    if cells["height"] is None:
        raise DataError(f"{cells['image_id']} is damaged: its size is not known; forget it first")
    if not len(labels) == len(ignore) == len(polygons) == count:
        raise DataError(
            f"{cells['image_id']} has {count} boxes, {len(labels)} labels, {len(ignore)} flags, {len(polygons)} outlines; expected as many"
        )
    return Row(
        cells["image_id"],
        cells["height"],
        cells["width"],
        cells["split"],
        cells["label"],
        boxes,
        labels,
        [bool(flag) for flag in ignore],
        [rings or [] for rings in polygons],
        cells["mask_sha256"] is not None,
    )


def check_splits(rows: Sequence[Row]) -> None:
    """Check that every split is one that a layout can name.

    Raises:
        DataError: One is not.
    """
    unknown = sorted({row.split for row in rows if row.split is not None} - set(SPLITS))
    if unknown:
        raise DataError(f"there is a split '{unknown[0]}'; this layout can name {', '.join(SPLITS)} alone")


def check_name(path: str) -> None:
    """Check that a name may become a file below the export, and is found there again.

    Raises:
        DataError: It leads outside, is hidden, or cannot be a file's name.
    """
    parts = path.split("/")
    if any(not part or part.startswith(".") or "\\" in part or len(part.encode()) > 255 for part in parts) or not path.isprintable():
        raise DataError(f"'{path}' is no name for an exported file; expected folders and a name that do not begin with a dot")
    if not is_image(path):
        raise DataError(f"'{path}' has no suffix of an image, so the export could not be read again; expected .jpg, .png or the like")


def write_images(dataset: Dataset, places: Sequence[Place], out: Path) -> None:
    """Write the images' bytes as they are.

    Args:
        dataset: What to write.
        places: One for each row, in order.
        out: The folder to make.

    Raises:
        DataError: A place is no name for a file, or two go to the same.
    """
    counts = Counter(place.path for place in places)
    folders = {path[:index] for path in counts for index, letter in enumerate(path) if letter == "/"}
    for place in places:
        check_name(place.path)
        if counts[place.path] > 1 or place.path in folders:
            raise DataError(f"the image {place.image_id} would be written to {place.path}, where another goes; rename one of them")
    out.mkdir(parents=True, exist_ok=True)
    with bar(f"export {dataset.info.name}", len(places)) as progress:
        for index, place in enumerate(places):
            path = out / place.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(dataset.image(index))
            progress.update()
