from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.datasets.dataset import Dataset
from components.datasets.export_rows import check_name
from components.datasets.exporting import export_dataset
from components.datasets.importing import import_dataset
from components.datasets.manifest import DatasetInfo
from components.datasets.writing import write_dataset
from components.errors import ConfigError, DataError, InputError
from components.protocols import ImportedImage
from tests.components.datasets.formats.conftest import SAMPLES, picture, put


@pytest.fixture
def boxes(tmp_path: Path) -> Dataset:
    """The COCO sample: outlines, a flag to ignore, an image with nothing on it."""
    import_dataset(put(tmp_path / "source", SAMPLES["coco"]["instances"]), "pets", tmp_path / "data")
    return Dataset.of_folder(tmp_path / "data/pets")


def _write(root: Path, task: str, classes: list[str], *images: ImportedImage) -> Dataset:
    write_dataset(images, DatasetInfo(name="pets", version="1", task=task, classes=classes), root)
    return Dataset.of_folder(root / "pets")


def test_images_keep_their_bytes_and_their_names(boxes: Dataset, tmp_path: Path) -> None:
    summary = export_dataset(boxes, "coco", tmp_path / "out")
    assert (summary.num_images, summary.left_out) == (2, [])
    assert (tmp_path / "out/images/a.png").read_bytes() == SAMPLES["coco"]["instances"]["images/a.png"]


def test_what_has_no_place_may_be_left_out_by_saying_so(boxes: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pets cannot be exported as voc: there are outlines .* --without polygons"):
        export_dataset(boxes, "voc", tmp_path / "out")
    export_dataset(boxes, "voc", tmp_path / "out", without=["polygons"])
    import_dataset(str(tmp_path / "out"), "again", tmp_path / "data")
    with Dataset.of_folder(tmp_path / "data/again") as again:
        assert again.manifest["polygons"].isna().all()
        assert again.manifest["boxes_xyxy"].tolist() == boxes.manifest["boxes_xyxy"].tolist()
    with pytest.raises(ConfigError, match="--without polygon: expected one of boxes"):
        export_dataset(boxes, "voc", tmp_path / "other", without=["polygon"])


def test_flags_to_ignore_and_outlines_are_refused_by_yolo(boxes: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="some objects have outlines and others a box alone"):
        export_dataset(boxes, "yolo", tmp_path / "out")
    with pytest.raises(DataError, match=r"has objects to be ignored; .* --without ignore"):
        export_dataset(boxes, "yolo", tmp_path / "out", without=["polygons"])
    export_dataset(boxes, "yolo", tmp_path / "out", without=["polygons", "ignore"])
    assert (tmp_path / "out/labels/b.txt").read_text() == ""


def test_a_layout_that_is_read_alone_and_a_folder_that_exists_are_refused(boxes: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--format cvat can be read, not written; expected one of coco"):
        export_dataset(boxes, "cvat", tmp_path / "out")
    with pytest.raises(InputError, match="exists"):
        export_dataset(boxes, "coco", tmp_path / "source")
    with pytest.raises(DataError, match="pets is for detection; masks can say segmentation"):
        export_dataset(boxes, "masks", tmp_path / "out")


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png", ".a.png", "a\\b.png", "a", "x//a.png", "x" * 300 + ".png", "a\n.png"])
def test_an_id_that_is_no_name_for_a_file_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"is no name for an exported file|has no suffix of an image"):
        check_name(name)


def test_nothing_is_written_where_an_id_is_no_name_for_a_file(tmp_path: Path) -> None:
    rows = [ImportedImage(name, picture(), {"label": "cat"}) for name in ("b.png", "a\\b.png")]
    with pytest.raises(DataError, match="is no name for an exported file"):
        export_dataset(_write(tmp_path / "data", "classification", ["cat"], *rows), "coco", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_dataset_that_nobody_has_annotated_is_refused(tmp_path: Path) -> None:
    dataset = _write(tmp_path / "data", "detection", ["cat"], ImportedImage("a.png", picture(), {}))
    with pytest.raises(DataError, match="no image is annotated"):
        export_dataset(dataset, "voc", tmp_path / "out")


def test_two_images_of_one_place_are_refused(tmp_path: Path) -> None:
    rows = [
        ImportedImage("a.png", picture(1), {"boxes_xyxy": [], "box_labels": []}),
        ImportedImage("a.jpg", picture(2), {"boxes_xyxy": [], "box_labels": []}),
    ]
    dataset = _write(tmp_path / "data", "detection", ["cat"], *rows)
    with pytest.raises(DataError, match=r"two images would have their lines in labels/a\.txt"):
        export_dataset(dataset, "yolo", tmp_path / "out")
    with pytest.raises(DataError, match=r"two images would have the annotations a\.xml"):
        export_dataset(dataset, "voc", tmp_path / "out")


def test_a_mask_that_outlines_do_not_give_is_refused_by_yolo(tmp_path: Path) -> None:
    row = {"boxes_xyxy": [[0, 0, 4, 3]], "box_labels": ["cat"], "polygons": [[[0, 0, 4, 0, 4, 3, 0, 3]]]}
    mask = np.zeros((6, 8), dtype=np.uint8)
    dataset = _write(tmp_path / "data", "segmentation", ["background", "cat"], ImportedImage("a.png", picture(), row, mask))
    with pytest.raises(DataError, match="has a mask that is not what its outlines give"):
        export_dataset(dataset, "yolo", tmp_path / "out")


def test_classes_that_folders_cannot_say_are_listed(tmp_path: Path) -> None:
    dataset = _write(tmp_path / "data", "classification", ["dog", "cat", "owl"], ImportedImage("a.png", picture(), {"label": "cat", "camera": "x"}))
    summary = export_dataset(dataset, "image_folder", tmp_path / "out")
    assert summary.left_out == ["camera"]
    assert (tmp_path / "out/classes.txt").read_text() == "dog\ncat\nowl\n"
    assert (tmp_path / "out/cat/a.png").is_file()


def test_an_image_without_a_label_is_refused_by_folders(tmp_path: Path) -> None:
    dataset = _write(
        tmp_path / "data", "classification", ["cat"], ImportedImage("a.png", picture(), {}), ImportedImage("b.png", picture(), {"label": "cat"})
    )
    with pytest.raises(DataError, match=r"a\.png has no label"):
        export_dataset(dataset, "image_folder", tmp_path / "out")
