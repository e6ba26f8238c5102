"""Folders of classes: CLASS/image.jpg, or SPLIT/CLASS/image.jpg with the splits named train, val (valid, validation) and test.

The layout of torchvision's ImageFolder, with or without a folder for each split above the classes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from components.datasets.reading import Entry, is_image, read_images, split_of
from components.errors import DataError
from components.protocols import Reading, Source

log = logging.getLogger(__name__)

#: Files and folders by which other layouts are known.
_ANNOTATIONS = (".json", ".jsonl", ".xml", ".csv", ".parquet", ".yaml", ".yml")
_OF_ANNOTATIONS = {"annotations", "labels", "masks", "jpegimages", "segmentationclass", "segmentations"}


class ImageFolder:
    """One folder a class."""

    name = "image_folder"
    tasks = ("classification",)

    def matches(self, source: Source) -> bool:
        """Tell whether images stand in folders of classes, and no file or folder of annotations says what they show."""
        files = source.files()
        folders = {folder.lower() for file in files for folder in file.split("/")[:-1][:2]}
        annotated = not folders.isdisjoint(_OF_ANNOTATIONS) or any(name.lower().endswith(_ANNOTATIONS) for name in files)
        return not annotated and any(True for _ in _labelled(files))

    def read(self, source: Source, task: str | None) -> Reading:  # noqa: ARG002 - folders of classes serve one task
        """Read the folders' names; classes are sorted, the image's id is its path at the source.

        Raises:
            DataError: No image stands in a class folder.
        """
        files = source.files()
        entries = [Entry(file, {"label": label} | ({"split": split} if split else {})) for split, label, file in _labelled(files)]
        if not entries:
            loose = sum(is_image(file) for file in files)
            found = f"{loose} images that stand in no class folder" if loose else "no images"
            raise DataError(f"{source.uri}: found {found}; expected CLASS/image.jpg or SPLIT/CLASS/image.jpg, one folder for each class")
        if len(files) > len(entries):
            log.info("%d files of %s left out: no images in a folder of a class", len(files) - len(entries), source.uri)
        classes = sorted({entry.row["label"] for entry in entries})
        return Reading("classification", classes, read_images(source, entries), len(entries))


def _labelled(files: Sequence[str]) -> Iterator[tuple[str | None, str, str]]:
    """Yield split, label and name of each image; the first folders are splits if all of them bear a split's name."""
    below = [file for file in files if "/" in file and is_image(file)]
    are_splits = all(split_of(file.split("/", 1)[0]) for file in below)
    for file in below:
        parts = file.split("/")
        if not are_splits:
            yield None, parts[0], file
        elif len(parts) > 2:
            yield split_of(parts[0]), parts[1], file


plugin = ImageFolder()
