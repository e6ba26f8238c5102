from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from components.datasets.dataset import Dataset
from components.datasets.importing import import_dataset
from components.errors import DataError
from tests.components.datasets.formats.conftest import HEIGHT, SAMPLES, WIDTH, half_mask, masks, picture, png, read, reasons, rows

TWO = {"images/a.png": picture(1), "images/b.png": picture(2)}
COLOURS = np.zeros((HEIGHT, WIDTH, 3))
COLOURS[:, 4:] = (16, 32, 255)


def test_an_index_is_looked_up_in_the_table(tmp_path: Path) -> None:
    reading = read(tmp_path, SAMPLES["masks"]["indexed"], "masks")
    assert (reading.task, reading.classes) == ("segmentation", ["road", "cat"])
    np.testing.assert_array_equal(masks(reading)["images/a.png"], half_mask(0, 1))
    assert masks(reading)["images/b.png"] is None


def test_without_a_table_masks_are_binary(tmp_path: Path) -> None:
    reading = read(tmp_path / "binary", SAMPLES["masks"]["binary"], "masks")
    assert reading.classes == ["background", "foreground"]
    np.testing.assert_array_equal(masks(reading)["images/a.png"], half_mask(0, 1))
    many = read(tmp_path / "many", TWO | {"masks/a.png": png(half_mask(0, 3))}, "masks")
    assert "holds 0, 3; without a table of classes" in reasons(many)["images/a.png"]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        pytest.param("classes.csv", b"name,r,g,b\nroad,0,0,0\ncat,16,32,255\n", id="csv of three columns"),
        pytest.param("classes.csv", b"name,color\nroad,#000000\ncat,#1020ff\n", id="csv of hexadecimals"),
        pytest.param("classes.json", b'[{"name": "road", "color": "#000000"}, {"name": "cat", "color": "#1020ff"}]', id="json"),
        pytest.param(
            "dataset_meta.json", b'{"label_map": {"0": "road", "1": "cat"}, "segmentation_colors": [[0, 0, 0], [16, 32, 255]]}', id="datumaro"
        ),
        pytest.param("labelmap.txt", b"road:0,0,0::\ncat:16,32,255::\n", id="cvat"),
    ],
)
def test_a_colour_is_looked_up_in_the_table(tmp_path: Path, name: str, table: bytes) -> None:
    reading = read(tmp_path, TWO | {"masks/a.png": png(COLOURS), name: table}, "masks")
    assert reading.classes == ["road", "cat"]
    np.testing.assert_array_equal(masks(reading)["images/a.png"], half_mask(0, 1))


@pytest.mark.parametrize("table", [b"classes:\n  0: road\n  17: cat\n", b"names: {0: road, 17: cat}\n"], ids=["classes", "names"])
def test_a_yaml_gives_ids_with_gaps(tmp_path: Path, table: bytes) -> None:
    files = {**SAMPLES["masks"]["indexed"], "config.yaml": table}
    del files["classes.csv"]
    np.testing.assert_array_equal(masks(read(tmp_path, files, "masks"))["images/a.png"], half_mask(0, 1))


def test_255_is_not_judged(tmp_path: Path) -> None:
    reading = read(tmp_path, SAMPLES["masks"]["indexed"] | {"masks/a.png": png(half_mask(17, 255))}, "masks")
    np.testing.assert_array_equal(masks(reading)["images/a.png"], half_mask(1, 255))


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        pytest.param(png(half_mask(0, 5)), "holds the values 5, which are no classes", id="undeclared"),
        pytest.param(png(COLOURS), "holds the colours #000000, #1020ff", id="colours without a table of them"),
        pytest.param(png(np.zeros((3, 3))), "has 3×3 pixels, the upright image 8×6", id="another size"),
        pytest.param(b"nothing", "is damaged, or no image without losses", id="no image"),
        pytest.param(png(half_mask(0, 17))[:-30], "is damaged", id="cut off"),
        pytest.param(picture(kind="JPEG"), "no image without losses", id="a jpeg"),
    ],
)
def test_an_image_whose_mask_is_wrong_is_quarantined(tmp_path: Path, mask: bytes, reason: str) -> None:
    reading = read(tmp_path, SAMPLES["masks"]["indexed"] | {"masks/a.png": mask}, "masks")
    assert list(reasons(reading)) == ["images/a.png"]
    assert reason in reasons(reading)["images/a.png"]


def test_a_mask_without_an_image_is_told_and_folders_of_splits_split(tmp_path: Path) -> None:
    files = {"train/image/a.png": picture(), "train/label/a.png": png(half_mask(0, 255)), "train/label/b.png": png(half_mask(0, 255))}
    reading = read(tmp_path, files, "masks")
    assert rows(reading) == {"train/image/a.png": {"split": "train"}}
    assert reasons(reading) == {"train/label/b.png": "a mask without an image"}


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("classes.csv", b"label\nx\n"),
        ("classes.csv", b"name,index\nx,one\n"),
        ("classes.csv", b"name\nx\nx\n"),
        ("classes.json", b"5"),
        ("classes.json", b"[" * 100_000),
        ("classes.json", b'[{"name": "x", "color": "#12"}]'),
        ("classes.yaml", b"[x"),
        ("labelmap.txt", b"road\n"),
        ("classes.csv", b"\xff\xff"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, name: str, table: bytes) -> None:
    with pytest.raises(DataError, match=name):
        read(tmp_path, TWO | {"masks/a.png": png(half_mask(0, 1)), name: table}, "masks")


@pytest.mark.shared_data
def test_the_membranes(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "membrane.tar") as tar:
        tar.extractall(tmp_path / "source", [member for member in tar if "/train/image" in member.name or "/train/label" in member.name])
    summary = import_dataset(str(tmp_path / "source"), "membrane", tmp_path / "data")
    assert (summary.num_images, summary.quarantined) == (30, [])
    with Dataset.of_folder(tmp_path / "data/membrane") as dataset:
        from PIL import Image

        assert dataset.manifest["image_id"][0] == "data/membrane/train/image/0.png"
        given = np.asarray(Image.open(tmp_path / "source/data/membrane/train/label/0.png"))
        np.testing.assert_array_equal(dataset.mask(0), given == 255)
