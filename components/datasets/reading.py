"""What the readers of foreign layouts share: which files are images, what a folder's name says of the split, images one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from components.datasets.annotations import Mask
from components.errors import DataError
from components.protocols import ImportedImage, Quarantined, Source

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
#: Folder names that say which split the images below them belong to.
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test"}


@dataclass(frozen=True)
class Entry:
    """An image that annotations speak of.

    Attributes:
        file: Its name at the source.
        row: The manifest's columns that the annotations give.
        image_id: Its name in the manifest; None: `file`.
        mask: Called with the image's bytes when the image is read; returns uint8 (H, W), or raises DataError.
    """

    file: str
    row: Mapping[str, Any]
    image_id: str | None = None
    mask: Callable[[bytes], Mask | None] | None = None


def is_image(name: str) -> bool:
    """Tell by its suffix whether a file is an image that is read."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def split_of(folder: str) -> str | None:
    """Return the split that a folder's name stands for, None if it stands for none."""
    return SPLITS.get(folder.lower())


def read_images(source: Source, entries: Sequence[Entry]) -> Iterator[ImportedImage | Quarantined]:
    """Yield the images of `entries` in order; what cannot be read is quarantined with the reason."""
    for entry, content in zip(entries, source.read_many(entry.file for entry in entries), strict=True):
        image_id = entry.image_id or entry.file
        if isinstance(content, DataError):
            yield Quarantined(image_id, str(content))
            continue
        try:
            mask = entry.mask(content) if entry.mask else None
        except DataError as error:
            yield Quarantined(image_id, str(error))
            continue
        yield ImportedImage(image_id, content, entry.row, mask)


def chained(*parts: Iterable[ImportedImage | Quarantined]) -> Iterator[ImportedImage | Quarantined]:
    """Yield the parts one after another: the images, then for example annotations that have none."""
    for part in parts:
        yield from part
