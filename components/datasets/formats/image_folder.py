"""Folders of classes: CLASS/image.jpg, or SPLIT/CLASS/image.jpg with the splits named train, val (valid, validation) and test.

The layout of torchvision's ImageFolder, with or without a folder for each split above the classes. Classes are sorted, unless classes.txt beside
the folders gives their order, one a line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.datasets.dataset import Dataset
from components.datasets.export_rows import Place, check_splits, row_cells, write_images
from components.datasets.parsing import check_classes, read_annotation
from components.datasets.reading import Entry, is_image, read_images, split_of
from components.errors import DataError
from components.protocols import Reading, Source

log = logging.getLogger(__name__)

#: Files and folders by which other layouts are known.
_ANNOTATIONS = (".json", ".jsonl", ".xml", ".csv", ".parquet", ".yaml", ".yml")
_OF_ANNOTATIONS = {"annotations", "labels", "masks", "jpegimages", "segmentationclass", "segmentations"}
#: Names that a class may bear, but not beside a folder of images called so.
_OF_IMAGES, _OF_MASKS = {"images", "image", "imgs", "img"}, {"mask", "label", "annotation", "gt"}
#: One class name a line: their order, where it is not the alphabet's, and classes without images.
CLASSES = "classes.txt"


class ImageFolder:
    """One folder a class."""

    name = "image_folder"
    tasks = ("classification",)

    def matches(self, source: Source) -> bool:
        """Tell whether images stand in folders of classes, and no file or folder of annotations says what they show."""
        files = source.files()
        folders = {folder.lower() for file in files for folder in file.split("/")[:-1]}
        texts = {name[:-4] for name in files if name.lower().endswith(".txt")}
        annotated = (
            not folders.isdisjoint(_OF_ANNOTATIONS)
            or not (folders.isdisjoint(_OF_MASKS) or folders.isdisjoint(_OF_IMAGES))
            or any(name.lower().endswith(_ANNOTATIONS) for name in files)
            or (texts and any(is_image(name) and name.rpartition(".")[0] in texts for name in files))
        )
        return not annotated and any(True for _ in _labelled(files))

    def read(self, source: Source, task: str | None) -> Reading:  # noqa: ARG002 - folders of classes serve one task
        """Read the folders' names; the image's id is its path at the source.

        Raises:
            DataError: No image stands in a class folder, or classes.txt lacks one.
        """
        files = source.files()
        entries = [Entry(file, {"label": label} | ({"split": split} if split else {})) for split, label, file in _labelled(files)]
        if not entries:
            loose = sum(is_image(file) for file in files)
            found = f"{loose} images that stand in no class folder" if loose else "no images"
            raise DataError(f"{source.uri}: found {found}; expected CLASS/image.jpg or SPLIT/CLASS/image.jpg, one folder for each class")
        classes = sorted({entry.row["label"] for entry in entries})
        if given := _given_classes(source):
            if missing := sorted(set(classes) - set(given)):
                raise DataError(
                    f"{source.uri}: {CLASSES} lacks '{missing[0]}', of which there is a folder; expected all classes in it, or no such file"
                )
            classes = given
        if (left := len(files) - len(entries) - bool(given)) > 0:
            log.info("%d files of %s left out: no images in a folder of a class", left, source.uri)
        return Reading("classification", classes, read_images(source, entries), len(entries))

    def write(self, dataset: Dataset, out: Path) -> None:
        """Write images at their ids where these say split and label, else as [SPLIT/]CLASS/ID; and classes.txt where it is needed.

        Raises:
            DataError: An image has no label, or more than one label for the whole of it; or some have splits and others none.
        """
        _write(dataset, out)


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


def _given_classes(source: Source) -> list[str] | None:
    if CLASSES not in source.files():
        return None
    text = read_annotation(source, CLASSES).decode("utf-8-sig", "replace")
    return check_classes([line.strip() for line in text.splitlines() if line.strip()], CLASSES) or None


def _write(dataset: Dataset, out: Path) -> None:
    rows = list(row_cells(dataset))
    check_splits(rows)
    for row in rows:
        if row.boxes is not None or row.has_mask:
            raise DataError(f"{row.image_id} has boxes or a mask; a folder of a class says one label of a whole image")
        if row.label is None:
            raise DataError(f"{row.image_id} has no label; a folder of classes has a place for labelled images alone")
    if any(row.split for row in rows) and not all(row.split for row in rows):
        raise DataError("some images have a split and others have none; folders of classes can say one of all images, or none of any")
    kept = {file: (split, label) for split, label, file in _labelled([row.image_id for row in rows])}
    if kept == {row.image_id: (row.split, row.label) for row in rows}:
        places = [Place(row.image_id, row.image_id) for row in rows]
    else:
        wrong = next((name for name in dataset.info.classes if "/" in name or not name.strip()), None)
        if wrong is not None:
            raise DataError(f"the class '{wrong}' is no name for a folder; expected one without a slash")
        places = [Place(row.image_id, "/".join([*([row.split] if row.split else []), str(row.label), row.image_id])) for row in rows]
    write_images(dataset, places, out)
    if list(dataset.info.classes) != sorted({str(row.label) for row in rows}):
        (out / CLASSES).write_text("".join(f"{name}\n" for name in dataset.info.classes), encoding="utf-8")


plugin = ImageFolder()
