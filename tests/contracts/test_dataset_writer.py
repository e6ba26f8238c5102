"""What every plugin of the seam `DatasetWriter` has to keep: import → export → import changes nothing."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from components.datasets.dataset import Dataset
from components.datasets.exporting import export_dataset
from components.datasets.importing import FORMATS, import_dataset
from components.datasets.manifest import DatasetInfo
from components.datasets.objects import Objects, with_background
from components.datasets.writing import write_dataset
from components.errors import DarkroomError, DataError
from components.protocols import DatasetWriter, ImportedImage, plugin, plugin_names

WRITERS = [name for name in plugin_names(FORMATS) if isinstance(plugin(FORMATS, "dataset format", name), DatasetWriter)]
WIDTH, HEIGHT = 9, 7
NAMES = ["cat", "dog & co", "übrig", "Zebra"]

#: What a layout may say of a dataset that was drawn without regard to names.
REFUSALS = ("rename one", "another goes", "has no place for it", "would be read", "no image is annotated")

coordinate = st.floats(-3, 12, allow_nan=False).map(lambda value: round(value, 7))
box = st.tuples(coordinate, coordinate, coordinate, coordinate).map(list)
ring = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=5).map(lambda points: [value for point in points for value in point])
file_name = st.text("ab-_ é0.", min_size=1, max_size=5).filter(lambda name: not name.startswith(".") and name.strip() == name)
folder = st.sampled_from(["", "", "images/", "x/", "x/images/", "JPEGImages/", "train/", "images/val/"])


def _content(index: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (index, 7, 7)).save(buffer, format="PNG")
    return buffer.getvalue()


@st.composite
def datasets(draw: st.DrawFn, writer: str) -> tuple[str, list[str], list[ImportedImage]]:
    """A task, classes and images that the layout has a place for."""
    task = draw(st.sampled_from(plugin(FORMATS, "dataset format", writer).tasks))
    classes = draw(st.permutations(NAMES))[: draw(st.integers(1, 4))]
    if task == "segmentation" and writer == "yolo":
        classes = with_background(classes)
    ids = draw(st.lists(st.builds(lambda where, name: f"{where}{name}", folder, file_name), min_size=1, max_size=5, unique_by=str.lower))
    splits = st.sampled_from([None, "train", "val", "test"] if writer != "image_folder" else ["train", "val"] if draw(st.booleans()) else [None])
    outlined = draw(st.booleans())
    images = []
    for index, name in enumerate(ids):
        row: dict[str, Any] = {"split": draw(splits)}
        mask = None
        if task == "classification":
            row["label"] = draw(st.sampled_from(classes) if writer == "image_folder" else st.sampled_from([*classes, None]))
        elif task == "detection" or writer == "yolo":
            row |= draw(_objects(writer, [name for name in classes if name != "background"], outlined or task == "segmentation"))
        if task == "segmentation" and writer == "yolo":
            objects = Objects()
            for label, rings in zip(row["box_labels"], row.get("polygons") or [], strict=True):
                objects.add(label, None, rings)
            mask = objects.mask(classes, (HEIGHT, WIDTH))
        elif task == "segmentation" and draw(st.integers(0, 4)):
            values = draw(st.lists(st.sampled_from([*range(len(classes)), 255]), min_size=WIDTH, max_size=WIDTH))
            mask = np.tile(np.array(values, dtype=np.uint8), (HEIGHT, 1))
        images.append(ImportedImage(f"{name}.png", _content(index), row, mask))
    return task, classes, images


@st.composite
def _objects(draw: st.DrawFn, writer: str, classes: list[str], outlined: bool) -> dict[str, Any]:
    if writer != "yolo" and draw(st.integers(0, 4)) == 0:
        return {}
    count = draw(st.integers(0, 3)) if classes else 0
    row: dict[str, Any] = {"box_labels": draw(st.lists(st.sampled_from(classes), min_size=count, max_size=count)) if count else []}
    row["boxes_xyxy"] = draw(st.lists(box, min_size=count, max_size=count))
    if outlined and writer in ("coco", "yolo") and count:
        rings = st.lists(ring, min_size=1, max_size=1 if writer == "yolo" else 2)
        row["polygons"] = draw(st.lists(rings, min_size=count, max_size=count))
        if writer == "yolo":
            row["boxes_xyxy"] = [[min(r[::2]), min(r[1::2]), max(r[::2]), max(r[1::2])] for (r,) in row["polygons"]]
    if writer in ("coco", "voc") and count:
        row["box_ignore"] = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return row


@pytest.mark.parametrize("writer", WRITERS)
@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_exported_is_imported_again_the_same(writer: str, data: st.DataObject) -> None:
    task, classes, images = data.draw(datasets(writer))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_dataset(images, DatasetInfo(name="one", version="1", task=task, classes=classes), root)
        with Dataset.of_folder(root / "one") as one:
            try:
                export_dataset(one, writer, root / "out")
            except DarkroomError as error:
                assert any(word in str(error) for word in REFUSALS), error
                assert not (root / "out").exists()
                return
            import_dataset(str(root / "out"), "two", root, format=writer, task=task)
            with Dataset.of_folder(root / "two") as two:
                _check_same(one, two)


def _check_same(one: Dataset, two: Dataset) -> None:
    assert two.info.classes == one.info.classes
    assert len(two) == len(one)
    place = {sha256: index for index, sha256 in enumerate(two.manifest["sha256"])}  # each image's bytes are its own here
    for index, row in enumerate(one.table.to_pylist()):
        other = place[row["sha256"]]
        found = two.table.slice(other, 1).to_pylist()[0]
        assert found["image_id"].endswith(row["image_id"])
        assert (found["split"], found["label"], found["box_labels"]) == (row["split"], row["label"], row["box_labels"])
        assert (found["boxes_xyxy"] is None) == (row["boxes_xyxy"] is None)
        count = len(row["boxes_xyxy"] or [])
        np.testing.assert_allclose(_flat(found["boxes_xyxy"]), _flat(row["boxes_xyxy"]), rtol=0, atol=1e-6)
        assert (found["box_ignore"] or [False] * count) == (row["box_ignore"] or [False] * count)
        np.testing.assert_allclose(_flat(found["polygons"]), _flat(row["polygons"]), rtol=0, atol=1e-6)
        mask, given_mask = two.mask(other), one.mask(index)
        assert (mask is None) == (given_mask is None)
        if mask is not None:
            np.testing.assert_array_equal(mask, given_mask)


def _flat(cell: Any) -> list[float]:
    return [] if cell is None else [value for item in cell for value in _flat(item)] if isinstance(cell, list) else [cell]


@pytest.mark.parametrize("writer", WRITERS)
def test_what_a_layout_has_no_place_for_is_refused_and_nothing_is_written(writer: str, tmp_path: Path) -> None:
    task = plugin(FORMATS, "dataset format", writer).tasks[0]
    row = {
        "label": "cat",
        "boxes_xyxy": [[1, 1, 2, 2]],
        "box_labels": ["cat"],
        "box_ignore": [True],
        "polygons": [[[1, 1, 2, 1, 2, 2], [3, 3, 4, 3, 4, 4]]],
    }
    image = ImportedImage("a.png", _content(0), row, np.zeros((HEIGHT, WIDTH), dtype=np.uint8))
    write_dataset([image], DatasetInfo(name="all", version="1", task=task, classes=["cat"]), tmp_path)
    with Dataset.of_folder(tmp_path / "all") as dataset, pytest.raises(DataError, match=f"all cannot be exported as {writer}: "):
        export_dataset(dataset, writer, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all"]
