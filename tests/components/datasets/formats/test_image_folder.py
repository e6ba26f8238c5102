from __future__ import annotations

from pathlib import Path

import pytest

from components.datasets.formats.image_folder import plugin
from components.errors import DataError


def _files(root: Path, *names: str) -> str:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return str(root)


def test_classes_are_folders_in_order(tmp_path: Path) -> None:
    source = _files(tmp_path, "dog/b.jpg", "cat/a.JPG", "cat/deeper/c.png", "cat/notes.txt", ".hidden/x.png", "cat/.y.png", "loose.jpg")
    assert plugin.matches(source)
    assert plugin.classes(source) == ["cat", "dog"]
    found = [(image.image_id, image.content, dict(image.row)) for image in plugin.images(source)]
    assert found == [
        ("cat/a.JPG", b"cat/a.JPG", {"label": "cat"}),
        ("cat/deeper/c.png", b"cat/deeper/c.png", {"label": "cat"}),
        ("dog/b.jpg", b"dog/b.jpg", {"label": "dog"}),
    ]
    assert plugin.count(source) == 3


def test_split_folders_give_the_split(tmp_path: Path) -> None:
    source = _files(tmp_path, "train/cat/1.png", "valid/cat/2.png", "test/dog/3.png")
    assert {image.image_id: (image.row["split"], image.row["label"]) for image in plugin.images(source)} == {
        "train/cat/1.png": ("train", "cat"),
        "valid/cat/2.png": ("val", "cat"),
        "test/dog/3.png": ("test", "dog"),
    }


def test_a_class_may_bear_a_splits_name_among_others(tmp_path: Path) -> None:
    source = _files(tmp_path, "test/1.png", "exam/2.png")
    assert plugin.classes(source) == ["exam", "test"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param(["1.png", "2.png"], "found 2 images that stand in no class folder", id="loose images"),
        pytest.param(["cat/notes.txt"], "found no images", id="no images"),
        pytest.param(["train/1.png", "test/2.png"], "found no images", id="splits without classes"),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    source = _files(tmp_path, *names)
    assert not plugin.matches(source)
    with pytest.raises(DataError, match=message):
        plugin.classes(source)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    source = _files(tmp_path, "cat/a.png")
    (tmp_path / "cat" / "b.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"b\.png cannot be read"):
        list(plugin.images(source))
