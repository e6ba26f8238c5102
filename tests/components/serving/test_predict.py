from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from components.errors import DataError
from components.serving.bundle import Bundle
from components.serving.predict import PredictedRow, find_images, predict_files, table, write_csv, write_json


@pytest.fixture(scope="module")
def rows(bundle_folder: Path, digit_files: Path) -> list[PredictedRow]:
    return list(predict_files(Bundle.open(bundle_folder), [digit_files], batch_size=5))


def test_folders_are_walked_for_images_in_order(digit_files: Path) -> None:
    found = [path.relative_to(digit_files).as_posix() for path in find_images([digit_files])]
    assert found == [*(f"a/{index:02d}.png" for index in range(6)), "a/broken.png", *(f"b/{index:02d}.png" for index in range(6, 12))]


def test_files_are_taken_as_they_are_and_once(digit_files: Path) -> None:
    notes, image = digit_files / "a" / "notes.txt", digit_files / "b" / "07.png"
    assert find_images([notes, image, digit_files / "b"])[:2] == [notes, image]
    assert find_images([image, image]) == [image]


def test_nothing_to_predict_is_an_error(digit_files: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere not found"):
        find_images([digit_files, tmp_path / "nowhere"])
    with pytest.raises(DataError, match="no image in"):
        find_images([tmp_path])


def test_a_bad_file_is_a_row_and_stops_nothing(rows: list[PredictedRow], bundle_folder: Path, digit_files: Path) -> None:
    assert [row.path.name for row in rows if row.error] == ["broken.png"]
    assert [row.path.name for row in rows if row.columns is None] == ["broken.png"]
    bundle = Bundle.open(bundle_folder)
    for row in rows:
        if row.columns is not None:
            assert row.columns["label"] == bundle.columns(bundle.predict([row.path.read_bytes()])[0])["label"]
    only_bad = list(predict_files(bundle, [digit_files / "a" / "notes.txt"]))
    assert only_bad[0].error is not None
    assert only_bad[0].columns is None


def test_csv_has_a_column_for_each_class(rows: list[PredictedRow]) -> None:
    file = io.StringIO()
    assert write_csv(rows, file) == 1
    written = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert len(written) == 13
    assert list(written[0]) == ["path", "label", "score", *(f"probabilities:{digit}" for digit in range(10)), "error"]
    assert float(written[0]["score"]) == max(float(written[0][f"probabilities:{digit}"]) for digit in range(10))
    bad = next(row for row in written if row["error"])
    assert bad["label"] == ""
    assert bad["path"].endswith("broken.png")


def test_json_holds_predictions_or_errors(rows: list[PredictedRow]) -> None:
    file = io.StringIO()
    assert write_json(rows, file) == 1
    written = json.loads(file.getvalue())
    assert set(written[0]) == {"path", "label", "score", "probabilities"}
    assert sum(written[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert [set(row) for row in written if "error" in row] == [{"path", "error"}]


def test_table_is_one_line_an_image(rows: list[PredictedRow]) -> None:
    lines = table(rows).splitlines()
    assert len(lines) == 13
    assert "not read: " in lines[6]
    assert rows[0].columns is not None
    assert lines[0].split()[1:] == [rows[0].columns["label"], f"{rows[0].columns['score']:.4f}"]
