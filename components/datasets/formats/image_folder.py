"""Folders of classes: CLASS/image.jpg, or SPLIT/CLASS/image.jpg with the splits named train, val (valid, validation) and test."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from components.errors import DataError
from components.protocols import ImportedImage

log = logging.getLogger(__name__)

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class ImageFolder:
    """The layout of torchvision's ImageFolder, with or without a folder for each split above the classes."""

    name = "image_folder"

    def matches(self, source: str) -> bool:
        """Tell whether `source` is a folder with a subfolder that holds images (or, below a split's folder, classes that do)."""
        root = Path(source)
        return root.is_dir() and any(_holds_images(folder) for _, _, folder in _class_folders(root))

    def classes(self, source: str) -> list[str]:
        """Return the names of the class folders, sorted.

        Raises:
            DataError: There is no such folder, or no folder of images in it.
        """
        return sorted({label for _, label, _ in self._folders(source)})

    def images(self, source: str) -> Iterator[ImportedImage]:
        """Yield the images folder by folder, sorted by name; the id is the path below `source`."""
        skipped = 0
        for split, label, folder in self._folders(source):
            row = {"label": label} | ({"split": split} if split else {})
            for path in _files(folder):
                if not _is_image(path):
                    skipped += 1
                    continue
                yield ImportedImage(os.path.relpath(path, source).replace(os.sep, "/"), _read(path), row)
        if skipped:
            log.info("%d files of %s left out: their names end in none of %s", skipped, source, " ".join(sorted(SUFFIXES)))

    def count(self, source: str) -> int:
        """Return how many images there are."""
        return sum(_is_image(path) for _, _, folder in self._folders(source) for path in _files(folder))

    def _folders(self, source: str) -> list[tuple[str | None, str, Path]]:
        root = Path(source)
        if not root.is_dir():
            raise DataError(f"{source} is no folder; expected CLASS/image.jpg or SPLIT/CLASS/image.jpg below it")
        folders = [entry for entry in _class_folders(root) if _holds_images(entry[2])]
        if not folders:
            loose = sum(_is_image(path.name) for path in root.iterdir())
            found = f"{loose} images that stand in no class folder" if loose else "no images"
            raise DataError(f"{source}: found {found}; expected CLASS/image.jpg or SPLIT/CLASS/image.jpg, one folder for each class")
        return folders


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _class_folders(root: Path) -> list[tuple[str | None, str, Path]]:
    """Return (split, label, folder); folders are splits if all of them bear a split's name."""
    folders = _subfolders(root)
    if folders and all(folder.name.lower() in SPLITS for folder in folders):
        return [(SPLITS[folder.name.lower()], below.name, below) for folder in folders for below in _subfolders(folder)]
    return [(None, folder.name, folder) for folder in folders]


def _files(folder: Path) -> Iterator[str]:
    """Yield the files below a class folder, sorted, hidden ones left out."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.join(where, name)  # noqa: PTH118


def _is_image(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in SUFFIXES  # noqa: PTH122


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a Path for each of 60,000 files costs more than reading it
            return file.read()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _holds_images(folder: Path) -> bool:
    return any(_is_image(path) for path in _files(folder))


plugin = ImageFolder()
