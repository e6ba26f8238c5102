from __future__ import annotations

from pathlib import Path

import pytest

from components.datasets.formats.image_folder import plugin
from components.datasets.sources import open_source
from components.errors import DataError
from components.protocols import ImportedImage, Quarantined, Source


def _files(root: Path, *names: str) -> Source:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return open_source(str(root))


def test_classes_are_folders_in_order(tmp_path: Path) -> None:
    source = _files(tmp_path, "dog/b.jpg", "cat/a.JPG", "cat/deeper/c.png", "cat/notes.txt", ".hidden/x.png", "cat/.y.png", "loose.jpg")
    assert plugin.matches(source)
    reading = plugin.read(source, None)
    assert (reading.classes, reading.total) == (["cat", "dog"], 3)
    assert list(reading.images) == [
        ImportedImage("cat/a.JPG", b"cat/a.JPG", {"label": "cat"}),
        ImportedImage("cat/deeper/c.png", b"cat/deeper/c.png", {"label": "cat"}),
        ImportedImage("dog/b.jpg", b"dog/b.jpg", {"label": "dog"}),
    ]


def test_split_folders_give_the_split(tmp_path: Path) -> None:
    source = _files(tmp_path, "train/cat/1.png", "valid/cat/2.png", "test/dog/3.png")
    images = [image for image in plugin.read(source, None).images if isinstance(image, ImportedImage)]
    assert {image.image_id: (image.row["split"], image.row["label"]) for image in images} == {
        "train/cat/1.png": ("train", "cat"),
        "valid/cat/2.png": ("val", "cat"),
        "test/dog/3.png": ("test", "dog"),
    }


def test_a_class_may_bear_a_splits_name_among_others(tmp_path: Path) -> None:
    assert plugin.read(_files(tmp_path, "test/1.png", "exam/2.png"), None).classes == ["exam", "test"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param(["1.png", "2.png"], "found 2 images that stand in no class folder", id="loose images"),
        pytest.param(["cat/notes.txt"], "found no images", id="no images"),
        pytest.param(["train/1.png", "test/2.png"], "found 2 images that stand in no class folder", id="splits without classes"),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    source = _files(tmp_path, *names)
    assert not plugin.matches(source)
    with pytest.raises(DataError, match=message):
        plugin.read(source, None)


def test_a_layout_with_annotations_is_not_taken_for_folders_of_classes(tmp_path: Path) -> None:
    assert not plugin.matches(_files(tmp_path / "coco", "images/a.jpg", "annotations/instances.json"))
    assert not plugin.matches(_files(tmp_path / "yolo", "images/a.jpg", "labels/a.txt"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    source = _files(tmp_path, "cat/a.png")
    (tmp_path / "cat" / "b.png").symlink_to("nowhere")
    assert list(plugin.read(source, None).images)[1] == Quarantined("cat/b.png", "cat/b.png cannot be read: No such file or directory")
