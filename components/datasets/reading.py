"""What the readers of foreign layouts share: which files are images, which file an annotation means, images in order."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.datasets.headers import read_header
from components.datasets.objects import Finish
from components.errors import DataError
from components.protocols import ImportedImage, Quarantined, Source

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
#: Folder names that say which split the images below them belong to; a year may follow (COCO: train2017).
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test"}


@dataclass(frozen=True)
class Entry:
    """An image that annotations speak of.

    Attributes:
        file: Its name at the source.
        row: The manifest's columns that the annotations give.
        image_id: Its name in the manifest; None: `file`.
        size_hw: Height and width that the annotations say the image has; an image of another size is quarantined.
        finish: Called with the upright image's height and width when it is read; returns more of the row, and the mask, uint8 (H, W).
            May raise DataError.
        content: Called with the file's bytes where the image is inside of another file; returns the image's. May raise DataError.
    """

    file: str
    row: Mapping[str, Any]
    image_id: str | None = None
    size_hw: tuple[int, int] | None = None
    finish: Finish | None = None
    content: Callable[[bytes], bytes] | None = None


def is_image(name: str) -> bool:
    """Tell by its suffix whether a file is an image that is read."""
    return posixpath.splitext(name)[1].lower() in SUFFIXES


def split_of(folder: str) -> str | None:
    """Return the split that a folder's name stands for, None if it stands for none."""
    return SPLITS.get(re.sub(r"(?<=[a-z])\d{4}$", "", folder.lower()))


def split_in(name: str, words: bool = False) -> str | None:
    """Return the split that the first telling folder of a path stands for, None if none does.

    Args:
        name: A file's name at the source.
        words: Look at the words of the file's own name first, as in instances_train2017.json.
    """
    *folders, own = name.split("/")
    parts = [*re.split(r"[^A-Za-z0-9]+", own.rpartition(".")[0]), *folders] if words else folders
    return next((split for part in parts if (split := split_of(part))), None)


def key_of(name: str, left_out: Collection[str]) -> str:
    """Return a file's name without its suffix and without the folders called as in `left_out`: what an image and its annotation share."""
    *folders, own = name.split("/")
    return "/".join([*(folder for folder in folders if folder.lower() not in left_out), own.rpartition(".")[0] or own])


class Files:
    """The files of a source, to be found by what annotations call them.

    Args:
        names: All that may be found.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = dict.fromkeys(names)
        self._by_own_name: dict[str, list[str]] = defaultdict(list)
        for name in self._names:
            self._by_own_name[name.rpartition("/")[2]].append(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def find(self, called: str, annotations: str, split: str | None = None) -> str:
        """Return the file that an annotation means.

        Args:
            called: What the annotation calls it: relative to the annotation's file, to the source, or the end of the path.
            annotations: The annotation's file.
            split: Of several files of that name, the one below this split's folder is meant.

        Raises:
            DataError: There is none, several could be meant, or the name leads outside of the source.
        """
        plain = called.replace("\\", "/")
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(annotations), plain))
        if "\0" in plain or not plain.strip("/.") or beside.startswith(("/", "../")) or re.match(r"[A-Za-z]:/", plain):
            raise DataError(f"{annotations} names the image {called!r}, which leads outside of the source")
        at_root = posixpath.normpath(plain)
        for name in (beside, at_root):
            if name in self._names:
                return name
        own = at_root.rpartition("/")[2]
        ending = at_root.lstrip("./")
        found = [name for name in self._by_own_name.get(own, ()) if name.endswith(f"/{ending}")]
        if len(found) > 1:
            found = [name for name in found if split and split_in(name) == split] or found
        if len(found) != 1:
            many = f"it could be {found[0]} or {found[1]}" if found else "there is no such image"
            raise DataError(f"{annotations} annotates {called}: {many}")
        return found[0]


@dataclass(frozen=True)
class Images:
    """The images of `entries` in order, read as they are asked for, and then what is lost; what cannot be read is quarantined with the reason.

    Attributes:
        source: Where the files are.
        entries: What annotations say.
        lost: For example annotations that have no image.
    """

    source: Source
    entries: Sequence[Entry]
    lost: tuple[Iterable[Quarantined], ...] = ()

    def __iter__(self) -> Iterator[ImportedImage | Quarantined]:
        """Yield them."""
        for entry, content in zip(self.entries, self.source.read_many(entry.file for entry in self.entries), strict=True):
            try:
                image = _image_of(entry, content)
            except DataError as error:
                yield Quarantined(entry.image_id or entry.file, str(error))
                continue
            yield image
        for part in self.lost:
            yield from part


def read_images(source: Source, entries: Sequence[Entry], *lost: Iterable[Quarantined]) -> Images:
    """Return the images of `entries` as they are asked for, then what is lost."""
    return Images(source, entries, lost)


def _image_of(entry: Entry, content: bytes | DataError) -> ImportedImage:
    if isinstance(content, DataError):
        raise content
    if entry.content:
        content = entry.content(content)
    row, mask = entry.row, None
    header = read_header(content) if entry.size_hw or entry.finish else None
    if header:
        size = (header.height, header.width)
        if entry.size_hw and entry.size_hw != size:
            raise DataError(f"it was annotated at {entry.size_hw[1]}×{entry.size_hw[0]} pixels, but the upright image has {size[1]}×{size[0]}")
        if entry.finish:
            more, mask = entry.finish(size)
            row = {**row, **more}
    return ImportedImage(entry.image_id or entry.file, content, row, mask)
