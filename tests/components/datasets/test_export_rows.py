from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.datasets.dataset import Dataset
from components.datasets.export_rows import Place, check_splits, row_cells, write_images
from components.datasets.manifest import DatasetInfo
from components.datasets.writing import write_dataset
from components.errors import DataError
from components.protocols import ImportedImage
from tests.components.datasets.formats.conftest import picture


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    row = {"boxes_xyxy": [[1, 1, 2, 2], [0, 0, 1, 1]], "box_labels": ["cat", "dog"], "split": "train"}
    images = [ImportedImage("x/a.png", picture(1), row), ImportedImage("x/b.png", picture(2), {}, np.zeros((6, 8), dtype=np.uint8))]
    write_dataset(images, DatasetInfo(name="pets", version="1", task="detection", classes=["cat", "dog"]), tmp_path)
    return Dataset.of_folder(tmp_path / "pets")


def test_what_is_not_said_of_a_box_is_filled_in(dataset: Dataset) -> None:
    first, second = row_cells(dataset)
    assert (first.ignore, first.polygons, first.has_mask) == ([False, False], [[], []], False)
    assert (second.boxes, second.labels, second.has_mask) == (None, [], True)


def test_a_split_that_no_layout_names_is_refused(dataset: Dataset) -> None:
    rows = list(row_cells(dataset))
    check_splits(rows)
    with pytest.raises(DataError, match="there is a split 'fold3'"):
        check_splits([*rows, type(rows[0])(**{**vars(rows[0]), "split": "fold3"})])


@pytest.mark.parametrize(
    "paths", [pytest.param(["a.png", "a.png"], id="the same"), pytest.param(["a.png", "a.png/b.png"], id="a file that is a folder")]
)
def test_two_images_of_one_place_are_refused(dataset: Dataset, tmp_path: Path, paths: list[str]) -> None:
    with pytest.raises(DataError, match="where another goes"):
        write_images(dataset, [Place("x", path) for path in paths], tmp_path / "out")
    assert not (tmp_path / "out").exists()
