from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from components.datasets.importing import import_dataset
from components.datasets.manifest import read_manifest
from components.errors import DataError
from tests.components.datasets.formats.conftest import (
    HEIGHT,
    SAMPLES,
    WIDTH,
    half_mask,
    masks,
    picture,
    png,
    read,
    reasons,
    rows,
    voc_object,
    voc_xml,
)

BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY l "lol"><!ENTITY m "&l;&l;&l;&l;&l;&l;&l;&l;">]><annotation>&m;</annotation>'
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'


@pytest.mark.parametrize(
    ("source", "box"),
    [
        pytest.param("<source><database>The VOC2007 Database</database></source>", [0, 1, 3, 4], id="the kit numbers pixels from 1"),
        pytest.param("<source><annotation>PASCAL VOC2012</annotation></source>", [0, 1, 3, 4], id="the kit by its annotation"),
        pytest.param("<source><database>Unknown</database></source>", [1, 2, 3, 4], id="labelImg draws edges"),
        pytest.param("", [1, 2, 3, 4], id="no source"),
    ],
)
def test_boxes_are_edges_or_pixel_numbers_as_the_source_says(tmp_path: Path, source: str, box: list[float]) -> None:
    files = {"JPEGImages/a.png": picture(), "Annotations/a.xml": voc_xml(voc_object("dog", (1, 2, 3, 4)), source)}
    assert rows(read(tmp_path, files, "voc"))["JPEGImages/a.png"] == {"boxes_xyxy": [box], "box_labels": ["dog"]}


def test_the_whole_layout(tmp_path: Path) -> None:
    files = SAMPLES["voc"]["boxes"] | {"JPEGImages/c.png": picture(3)}
    reading = read(tmp_path, files, "voc")
    assert (reading.task, reading.classes) == ("detection", ["cat", "dog"])
    assert rows(reading) == {
        "JPEGImages/a.png": {
            "split": "train",
            "boxes_xyxy": [[1, 2, 3, 4], [2, 2, 2, 2]],  # a box without area comes through: finding it is the checks' work
            "box_labels": ["dog", "cat"],
            "box_ignore": [False, True],
        },
        "JPEGImages/b.png": {"split": "val", "boxes_xyxy": [], "box_labels": []},
        "JPEGImages/c.png": {},
    }


def test_masks_are_indices_of_the_classes_of_voc(tmp_path: Path) -> None:
    reading = read(tmp_path, SAMPLES["voc"]["masks"] | {"SegmentationClass/lost.png": png(half_mask(0, 0))}, "voc")
    assert (reading.task, len(reading.classes), reading.classes[8]) == ("segmentation", 21, "cat")
    np.testing.assert_array_equal(masks(reading)["JPEGImages/a.png"], half_mask(0, 8))
    assert reasons(reading) == {"SegmentationClass/lost.png": "a mask without an image"}


def test_a_coloured_mask_is_read_by_labelmap(tmp_path: Path) -> None:
    pixels = np.zeros((HEIGHT, WIDTH, 3))
    pixels[:, 4:] = (10, 20, 30)
    pixels[0] = (224, 224, 192)
    labelmap = b"# label:color_rgb:parts:actions\nroad:0,0,0::\ncat:10,20,30::\nignored:224,224,192::\n"
    files = {"JPEGImages/a.png": picture(), "SegmentationClass/a.png": png(pixels), "labelmap.txt": labelmap}
    reading = read(tmp_path, files, "voc")
    expected = half_mask(0, 1)
    expected[0] = 255
    assert reading.classes == ["road", "cat"]
    np.testing.assert_array_equal(masks(reading)["JPEGImages/a.png"], expected)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(BOMB, "declares a DTD or entities", id="entity bomb"),
        pytest.param(OUTSIDE, "declares a DTD or entities", id="external entity"),
        pytest.param(b"<annotation><object>", "is no XML that can be read", id="cut off"),
        pytest.param(b"<annotations/>", "expected <annotation>", id="another root"),
        pytest.param(voc_xml(voc_object("dog", (1, 2, float("nan"), 4))), "xmax is 'nan'; expected a number", id="nan"),
        pytest.param(voc_xml("<object><name>dog</name></object>"), "without <bndbox>", id="no box"),
        pytest.param(voc_xml(voc_object("", (1, 2, 3, 4))), "an object without a name", id="no name"),
        pytest.param(voc_xml("", size="<width>6</width><height>8</height>"), "annotated at 6×8", id="another size"),
    ],
)
def test_an_image_whose_xml_is_wrong_is_quarantined(tmp_path: Path, content: bytes, reason: str) -> None:
    reading = read(tmp_path, SAMPLES["voc"]["boxes"] | {"Annotations/a.xml": content}, "voc")
    assert list(reasons(reading)) == ["JPEGImages/a.png"]
    assert reason in reasons(reading)["JPEGImages/a.png"]


def test_annotations_without_images_are_told(tmp_path: Path) -> None:
    more = {"Annotations/x.xml": voc_xml("", name="x.png"), "Annotations/y.xml": voc_xml("", name="../../y.png"), "ImageSets/Main/test.txt": b"z\n"}
    found = reasons(read(tmp_path, SAMPLES["voc"]["boxes"] | more, "voc"))
    assert "there is no such image" in found["Annotations/x.xml"]
    assert "leads outside" in found["Annotations/y.xml"]
    assert "no such image" in found["z"]


def test_a_source_without_xml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found no Annotations/\*\.xml"):
        read(tmp_path, {"JPEGImages/a.png": picture()}, "voc")


@pytest.mark.shared_data
def test_every_cell_of_bccd_is_there(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "bccd.tar") as tar:
        tar.extractall(tmp_path / "source")
    summary = import_dataset(str(tmp_path / "source"), "bccd", tmp_path / "data")
    assert summary.class_counts == {"Platelets": 361, "RBC": 4155, "WBC": 372}
    assert (summary.num_images, summary.quarantined) == (364, [])
    frame = read_manifest(tmp_path / "data/bccd")
    assert frame["split"].value_counts().to_dict() == {"train": 205, "val": 87, "test": 72}
    flat = [
        name[-9:-4] for name, boxes in zip(frame["image_id"], frame["boxes_xyxy"], strict=True) for x0, y0, x1, y1 in boxes if x0 == x1 or y0 == y1
    ]
    assert flat == ["00338", "00343"]
