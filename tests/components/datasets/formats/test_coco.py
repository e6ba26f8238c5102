from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from components.datasets.importing import import_dataset
from components.datasets.manifest import read_manifest
from components.errors import DataError
from tests.components.datasets.formats.conftest import HEIGHT, SAMPLES, WIDTH, coco_json, masks, picture, read, reasons, rows, text

BOX = {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3.5, 1]}


def _files(content: object, name: str = "annotations/instances.json") -> dict[str, bytes]:
    return {"images/a.png": picture(1), "images/b.png": picture(2), name: text(content)}


def test_boxes_are_x_y_width_height_from_the_edge(tmp_path: Path) -> None:
    reading = read(tmp_path, SAMPLES["coco"]["instances"], "coco")
    assert (reading.task, reading.classes, reading.total) == ("detection", ["cat", "dog"], 2)
    assert rows(reading) == {
        "images/a.png": {
            "boxes_xyxy": [[1, 2, 4.5, 3], [0, 0, 1, 2]],
            "box_labels": ["dog", "cat"],
            "box_ignore": [False, True],
            "polygons": [[[1, 2, 4.5, 2, 4.5, 3, 1, 3]], []],
        },
        "images/b.png": {"boxes_xyxy": [], "box_labels": []},  # listed without annotations: nothing is on it
    }


def test_masks_are_drawn_from_outlines_and_run_lengths_down_the_columns(tmp_path: Path) -> None:
    annotations = [
        {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 2], "segmentation": [[1, 2, 4, 2, 4, 4, 1, 4]]},
        {"image_id": 7, "category_id": 1, "segmentation": {"counts": [7, 2, 39], "size": [HEIGHT, WIDTH]}},
        {"image_id": 7, "category_id": 1, "bbox": [6, 0, 2, 1], "segmentation": []},
    ]
    reading = read(tmp_path, _files(coco_json(annotations=annotations)), "coco", "segmentation")
    assert reading.classes == ["background", "cat", "dog"]
    expected = np.zeros((HEIGHT, WIDTH))
    expected[2:4, 1:4] = 2
    expected[1:3, 1] = 1  # runs: 7 off (a column of 6 and one more), 2 on
    expected[0, 6:8] = 255  # a box without an outline: nobody knows which pixels
    np.testing.assert_array_equal(masks(reading)["images/a.png"], expected)
    assert rows(reading)["images/a.png"]["boxes_xyxy"][1] == [1, 1, 2, 3]


def test_a_panoptic_png_holds_the_segments_number_in_three_bytes(tmp_path: Path) -> None:
    reading = read(tmp_path, SAMPLES["coco"]["panoptic"], "coco")
    assert (reading.task, reading.classes) == ("segmentation", ["cat", "dog"])
    assert list(rows(reading)) == ["val/a.png", "val/b.png"]
    np.testing.assert_array_equal(masks(reading)["val/a.png"], np.where(np.arange(WIDTH) < 4, 1, 255)[None].repeat(HEIGHT, 0))
    assert masks(reading)["val/b.png"] is None
    assert rows(reading)["val/a.png"] == {"split": "val"}


def test_labels_alone_are_classification(tmp_path: Path) -> None:
    reading = read(tmp_path, SAMPLES["coco"]["labels"], "coco")
    assert (reading.task, rows(reading)) == (
        "classification",
        {"images/a.png": {"split": "train", "label": "dog"}, "images/b.png": {"split": "train"}},
    )
    twice = [{"image_id": 7, "category_id": 3}, {"image_id": 7, "category_id": 1}]
    assert "labelled dog and cat" in reasons(read(tmp_path / "twice", _files(coco_json(annotations=twice)), "coco"))["images/a.png"]


def test_the_same_file_name_in_two_splits_is_two_images(tmp_path: Path) -> None:
    one = coco_json(images=[{"id": 7, "file_name": "a.png"}], annotations=[BOX])
    files = {"train2017/a.png": picture(1), "val2017/a.png": picture(2)}
    files |= {"annotations/instances_train2017.json": text(one), "annotations/instances_val2017.json": text(one)}
    found = rows(read(tmp_path, files, "coco"))
    assert {name: row["split"] for name, row in found.items()} == {"train2017/a.png": "train", "val2017/a.png": "val"}


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        pytest.param({**BOX, "category_id": 2}, "category 2 is not among the categories", id="unknown category"),
        pytest.param({**BOX, "bbox": [1, 2, 3]}, "a bbox has 3 numbers", id="three numbers"),
        pytest.param({"image_id": 7, "category_id": 3, "segmentation": [[1, 2, 3]]}, "odd number of coordinates", id="half a point"),
        pytest.param({"image_id": 7, "category_id": 3}, "neither a box nor an outline", id="nothing"),
        pytest.param({**BOX, "bbox": [1e308, 0, 1e308, 1]}, "not finite", id="overflow"),
        pytest.param({"image_id": 7, "category_id": 3, "segmentation": {"counts": "~", "size": [6, 8]}}, "compressed run-length", id="letters"),
    ],
)
def test_an_image_whose_annotation_is_wrong_is_quarantined(tmp_path: Path, annotation: dict[str, object], reason: str) -> None:
    good = {**BOX, "image_id": 9}
    reading = read(tmp_path, _files(coco_json(annotations=[annotation, good])), "coco", "detection")
    assert list(reasons(reading)) == ["images/a.png"]
    assert reason in reasons(reading)["images/a.png"]
    assert list(rows(reading)) == ["images/b.png"]


def test_nothing_is_lost_in_silence(tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "gone.png"},
        {"id": 2, "file_name": "../../etc/passwd"},
        {"id": 7, "file_name": "a.png", "width": 6, "height": 8},
        {"id": 9, "file_name": "b.png"},
    ]
    reading = read(tmp_path, _files(coco_json(images, [BOX, {**BOX, "image_id": 5}])) | {"images/new.png": picture(3)}, "coco")
    found = reasons(reading)
    assert "there is no such image" in found["gone.png"]
    assert "leads outside" in found["../../etc/passwd"]
    assert "annotated at 6×8 pixels, but the upright image has 8×6" in found["images/a.png"]
    assert "1 annotations of an image id" in found["annotations/instances.json#5"]
    assert rows(reading) == {"images/b.png": {"boxes_xyxy": [], "box_labels": []}, "images/new.png": {}}  # listed nowhere: not annotated
    assert reading.total == len(list(reading.images))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("[1, 2]", "the whole: found a list of 2; expected", id="a list"),
        pytest.param('{"images": 5}', r"images: found 5; expected: Input should be a valid array", id="no list"),
        pytest.param('{"images": [{"id": 1}]}', r"images.0.file_name: found an object of 1; expected: Field required", id="no name"),
        pytest.param("{", "is no JSON that can be read", id="cut off"),
        pytest.param("[" * 100_000, "is no JSON that can be read", id="deep"),
        pytest.param(json.dumps(coco_json(images=[{"id": 1, "file_name": "a.png"}] * 2)), "image id 1 comes twice", id="id twice"),
        pytest.param('{"images": [], "annotations": [{"image_id": 1, "bbox": [NaN]}]}', "found nan; expected: Input should be a finite", id="nan"),
    ],
)
def test_a_file_of_another_shape_is_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, _files(content), "coco")
    assert "annotations/instances.json" in str(caught.value)


@pytest.mark.shared_data
def test_a_hundred_real_photographs_have_their_published_panoptic_areas(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "coco128.tar") as tar:
        wanted = [member for member in tar if member.name.startswith(("images/val", "panoptic_segmentation/annotations/panoptic_val"))]
        tar.extractall(tmp_path / "source", wanted)
    summary = import_dataset(str(tmp_path / "source"), "coco", tmp_path / "data")
    assert (summary.num_images, len(summary.quarantined)) == (128, 0)
    frame = read_manifest(tmp_path / "data/coco")
    assert frame["mask_sha256"].notna().sum() == 100
    assert set(frame["split"]) == {"val"}
    stated = json.loads((tmp_path / "source/panoptic_segmentation/annotations/panoptic_val2017.json").read_text())
    areas = {item["image_id"]: sum(part["area"] for part in item["segments_info"]) for item in stated["annotations"]}
    from components.datasets.dataset import Dataset

    with Dataset.of_folder(tmp_path / "data/coco") as dataset:
        for index, name in list(enumerate(frame["image_id"]))[:10]:
            mask = dataset.mask(index)
            assert mask is not None
            assert int((mask != 255).sum()) == areas[int(Path(name).stem)]
