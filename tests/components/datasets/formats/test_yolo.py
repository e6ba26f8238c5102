from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from components.datasets.importing import import_dataset
from components.datasets.manifest import read_manifest
from components.errors import DataError
from tests.components.datasets.formats.conftest import SAMPLES, masks, picture, put, read, reasons, rows

TWO = {"images/a.png": picture(1), "images/b.png": picture(2)}


def test_boxes_are_shares_of_the_upright_images_size(tmp_path: Path) -> None:
    reading = read(tmp_path, SAMPLES["yolo"]["boxes"], "yolo")
    assert (reading.task, reading.classes) == ("detection", ["dog", "cat"])
    # 8×6 pixels: centre 0.5 · 8 = 4, width 0.25 · 8 = 2; centre 0.5 · 6 = 3, height 0.5 · 6 = 3
    assert rows(reading)["images/a.png"] == {"boxes_xyxy": [[3, 1.5, 5, 4.5], [0, 0, 4, 6]], "box_labels": ["dog", "cat"]}
    assert rows(reading)["images/b.png"] == {"boxes_xyxy": [], "box_labels": []}


def test_a_photograph_that_lies_on_its_side_is_measured_upright(tmp_path: Path) -> None:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (100, 50)).save(buffer, format="JPEG", exif=exif)
    reading = read(tmp_path, {"images/a.jpg": buffer.getvalue(), "labels/a.txt": b"0 0.5 0.5 1 1\n"}, "yolo")
    assert rows(reading)["images/a.jpg"]["boxes_xyxy"] == [[0, 0, 50, 100]]


def test_outlines_give_box_and_mask_and_numbers_name_classes(tmp_path: Path) -> None:
    reading = read(tmp_path, SAMPLES["yolo"]["outlines"], "yolo", "segmentation")
    assert reading.classes == ["background", "0", "1"]
    row = rows(reading)["images/a.png"]
    assert (row["boxes_xyxy"], row["polygons"]) == ([[0, 0, 4, 3]], [[[0, 0, 4, 0, 4, 3]]])
    mask = masks(reading)["images/a.png"]
    assert set(np.unique(mask)) == {0, 2}
    assert not mask[3:].any()
    assert not mask[:, 4:].any()


def test_the_four_corners_of_a_rotated_box_are_an_outline_and_an_angle_is_refused(tmp_path: Path) -> None:
    reading = read(tmp_path, TWO | {"labels/a.txt": b"0 0.5 0 1 0.5 0.5 1 0 0.5\n"}, "yolo")
    row = rows(reading)["images/a.png"]
    assert (row["boxes_xyxy"], row["polygons"]) == ([[0, 0, 8, 6]], [[[4, 0, 8, 3, 4, 6, 0, 3]]])
    put(tmp_path / "angle", TWO | {"labels/a.txt": b"0 0.5 0.5 0.5 0.5 30\n"})
    with pytest.raises(DataError, match=r"1 of 2 images .* line 1 has 6 numbers; .*Of a rotated box give the class and its four corners"):
        import_dataset(str(tmp_path / "angle"), "pets", tmp_path / "data")  # recognised as YOLO all the same


@pytest.mark.parametrize(
    ("names", "found"),
    [
        pytest.param({"data.yaml": b"names:\n  1: cat\n  17: dog\n"}, ["cat", "dog"], id="numbers with gaps"),
        pytest.param({"classes.txt": b"x\ncat\n"}, ["x", "cat"], id="a line a class"),
        pytest.param({"obj.names": b"x\ncat\n", "obj.data": b"names = obj.names\n"}, ["x", "cat"], id="darknet"),
    ],
)
def test_names_of_classes(tmp_path: Path, names: dict[str, bytes], found: list[str]) -> None:
    reading = read(tmp_path, TWO | {"labels/a.txt": b"1 0.5 0.5 1 1\n"} | names, "yolo")
    assert reading.classes == found
    assert rows(reading)["images/a.png"]["box_labels"] == ["cat"]


@pytest.mark.parametrize(
    ("more", "splits"),
    [
        pytest.param({"data.yaml": b"names: [x]\ntrain: ../train/images\nval: val/images\n"}, {"train", "val"}, id="folders"),
        pytest.param({"data.yaml": b"names: [x]\n"}, {"train", "val"}, id="names of folders"),
        pytest.param(
            {"data.yaml": b"names: [x]\ntrain: t.txt\nval: v.txt\n", "t.txt": b"./val/images/a.png\n", "v.txt": b"/home/me/train/images/a.png\n"},
            {"val", "train"},
            id="lists",
        ),
    ],
)
def test_splits(tmp_path: Path, more: dict[str, bytes], splits: set[str]) -> None:
    line = b"0 0.5 0.5 1 1\n"
    files = {"train/images/a.png": picture(1), "val/images/a.png": picture(2), "train/labels/a.txt": line, "val/labels/a.txt": line}
    found = {name: row["split"] for name, row in rows(read(tmp_path, files | more, "yolo")).items()}
    crossed = "t.txt" in more
    assert found == {"train/images/a.png": "val" if crossed else "train", "val/images/a.png": "train" if crossed else "val"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b"0 0.5 0.5 1", "has 4 numbers; expected 5", id="too few"),
        pytest.param(b"0 0.5 0.5 1 1 0.9", "has 6 numbers; expected 5", id="a prediction"),
        pytest.param(b"0 0.5 nan 1 1", "expected a class's number first, and numbers that are finite", id="nan"),
        pytest.param(b"7 0.5 0.5 1 1", "class 7 has no name", id="unknown class"),
        pytest.param(b"-1 0.5 0.5 1 1", "expected a class's number", id="negative class"),
        pytest.param(b"\xff\xfe", "expected numbers", id="no text"),
    ],
)
def test_an_image_whose_lines_are_wrong_is_quarantined(tmp_path: Path, line: bytes, reason: str) -> None:
    reading = read(tmp_path, SAMPLES["yolo"]["boxes"] | {"labels/a.txt": line}, "yolo")
    assert list(reasons(reading)) == ["images/a.png"]
    assert reason in reasons(reading)["images/a.png"]
    assert list(rows(reading)) == ["images/b.png"]


def test_lines_without_an_image_are_told_and_lists_of_names_are_not_lines(tmp_path: Path) -> None:
    more = {"labels/gone.txt": b"0 0.5 0.5 1 1\n", "labels/classes.txt": b"dog\ncat\n", "README.txt": b"Welcome\n"}
    assert reasons(read(tmp_path, SAMPLES["yolo"]["boxes"] | more, "yolo")) == {"labels/gone.txt": "labels without an image"}


def test_skip_if_label_file_missing_says_not_annotated(tmp_path: Path) -> None:
    files = TWO | {"labels/a.txt": b"0 0.5 0.5 1 1\n"}
    assert rows(read(tmp_path / "one", files, "yolo"))["images/b.png"] == {"boxes_xyxy": [], "box_labels": []}
    more = {"config.yaml": b"skip_if_label_file_missing: true\nnames: [x]\n"}
    assert rows(read(tmp_path / "two", files | more, "yolo"))["images/b.png"] == {}


@pytest.mark.parametrize("names", [b"names: 5\n", b"names: [x, x]\n", b"names: {a: b}\n", b"names: []\n", b"names: &a [*a]\n" * 2, b"{{{{"])
def test_wrong_names_are_refused(tmp_path: Path, names: bytes) -> None:
    with pytest.raises(DataError, match=r"data\.yaml"):
        read(tmp_path, SAMPLES["yolo"]["boxes"] | {"data.yaml": names}, "yolo")


@pytest.mark.shared_data
def test_coco128_is_read_whole(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "coco128.tar") as tar:
        wanted = [member for member in tar if member.name.startswith(("images/train", "object_detection/labels/train", "object_detection/config"))]
        tar.extractall(tmp_path / "source", wanted)
    from components.datasets.importing import ImportConfig

    (tmp_path / "source/object_detection/labels").rename(tmp_path / "source/labels")
    summary = import_dataset(str(tmp_path / "source"), "coco", tmp_path / "data", config=ImportConfig(max_bad=0.02))
    assert sorted(name[-10:] for name, _ in summary.quarantined) == ["000656.txt", "000659.txt"]
    frame = read_manifest(tmp_path / "data/coco")
    nothing = [name[-7:-4] for name, boxes in zip(frame["image_id"], frame["boxes_xyxy"], strict=True) if len(boxes) == 0]
    assert (len(frame), nothing) == (128, ["250", "508"])
    boxes = np.concatenate([np.array([list(box) for box in cell]) for cell in frame["boxes_xyxy"] if len(cell)])
    sizes = np.repeat(frame[["width", "height"]].to_numpy(dtype=float), frame["boxes_xyxy"].map(len).to_numpy(), axis=0)
    lines = [path.read_text().splitlines() for path in (tmp_path / "source/labels").rglob("*.txt") if path.stem[-3:] not in ("656", "659")]
    assert len(boxes) == sum(map(len, lines))
    assert (boxes > -0.01).all()
    assert (boxes[:, 2:] < sizes + 0.01).all()
