from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.datasets import tables
from components.datasets.formats import table
from components.datasets.importing import import_dataset
from components.datasets.manifest import read_manifest
from components.datasets.sources import open_source
from components.errors import DataError
from components.protocols import ImportedImage, Quarantined, Reading


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(3):
        path = tmp_path / "photos/images" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (10, 6), (index, 0, 0)).save(path)
    return tmp_path / "photos"


def _read(folder: Path, content: str | bytes, name: str = "labels.csv", task: str | None = None) -> Reading:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return table.plugin.read(open_source(str(folder)), task)


def _rows(reading: Reading) -> dict[str, dict[str, Any]]:
    return {image.image_id: dict(image.row) for image in reading.images if isinstance(image, ImportedImage)}


def _parquet(columns: dict[str, list[Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_a_csv_of_labels_gives_labels_splits_groups_and_metadata_of_their_types(folder: Path) -> None:
    reading = _read(
        folder,
        ",Path,Class,split,group,age,site,zip,score\n"
        "0,images/2.png,dog,Training,7,3,north,007,0.5\n"
        '1,images/0.png,"cat, ""small""",val,7,-4,=1+1,010,1\n'
        "2,1.png,,test,,,,,\n",
    )
    assert (reading.task, reading.classes, reading.total) == ("classification", ['cat, "small"', "dog"], 3)
    assert _rows(reading) == {
        "images/2.png": {"label": "dog", "split": "train", "group": "7", "age": 3, "site": "north", "zip": "007", "score": 0.5},
        "images/0.png": {"label": 'cat, "small"', "split": "val", "group": "7", "age": -4, "site": "=1+1", "zip": "010", "score": 1.0},
        "images/1.png": {"split": "test"},
    }


def test_boxes_are_pixel_edges_by_hand(folder: Path) -> None:
    """On an image of 10×6: its left half, and the last column of pixels; the second image has nothing on it."""
    reading = _read(
        folder,
        "filename,width,height,class,xmin,ymin,xmax,ymax,occluded,site\n"
        "0.png,10,6,cat,0,0,5,6,1,north\n"
        "1.png,10,6,,,,,,,\n"
        "0.png,10,6,dog,9,0,10,6.0,0,north\n",
    )
    assert (reading.task, reading.classes) == ("detection", ["cat", "dog"])
    assert _rows(reading) == {
        "images/0.png": {"boxes_xyxy": [[0, 0, 5, 6], [9, 0, 10, 6]], "box_labels": ["cat", "dog"], "site": "north"},
        "images/1.png": {"boxes_xyxy": [], "box_labels": []},
    }


def test_an_image_of_another_size_than_the_table_says_is_quarantined(folder: Path) -> None:
    reading = _read(folder, "image,label,width,height\n0.png,cat,6,10\n1.png,cat,,\n2.png,cat,10,6\n")
    first, *others = reading.images
    assert isinstance(first, Quarantined)
    assert "annotated at 6×10 pixels, but the upright image has 10×6" in first.reason
    assert len(others) == 2


def test_a_parquet_table_says_the_same(folder: Path) -> None:
    columns = {"file": ["0.png", "1.png"], "label": [3, None], "age": [1.5, None], "site": pa.array(["a", ""]).dictionary_encode()}
    reading = _read(folder, _parquet(columns), "labels.parquet")
    assert reading.classes == ["3"]
    assert _rows(reading) == {"images/0.png": {"label": "3", "age": 1.5, "site": "a"}, "images/1.png": {}}


@pytest.mark.parametrize("content", ["image;label\n0.png;cat\n", "image\tlabel\r\n0.png\tcat\r\n", "\ufeffimage|label\n\n0.png|cat\n\n"])
def test_separators_marks_and_blank_lines_do_not_matter(folder: Path, content: str) -> None:
    assert _rows(_read(folder, content)) == {"images/0.png": {"label": "cat"}}
    assert _rows(_read(folder, content.removeprefix("\ufeff").encode("utf-16"))) == {"images/0.png": {"label": "cat"}}


def test_images_that_are_missing_or_outside_are_quarantined(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes((folder / "images/0.png").read_bytes())
    names = ["0.png", "gone.png", "../secret.png", str(tmp_path / "secret.png"), "C:\\secret.png", "images\\1.png"]
    reading = _read(folder, "image,label\n" + "".join(f"{name},cat\n" for name in names))
    images = list(reading.images)
    assert reading.total == len(images) == 6
    assert [image.image_id for image in images if isinstance(image, ImportedImage)] == ["images/0.png", "images/1.png"]
    reasons = {image.image_id: image.reason for image in images if isinstance(image, Quarantined)}
    assert "there is no such image" in reasons["gone.png"]
    assert all("leads outside" in reasons[name] for name in names[2:5])


BOXES = "image,label,x0,y0,x1,y1"
REFUSED = {
    "broken quote": ('image,label\n0.png,cat\n1.png,"dog\n2.png,cat\n', r"labels\.csv, line 3: unexpected end of data; is a quote missing"),
    "text after a quote": ('image,label\n0.png,"cat" x\n', r"labels\.csv, line 2: .* expected after"),
    "a ragged row": ("image,label\n0.png,cat\n1.png\n", r"labels\.csv, line 3: 1 cells; expected 2"),
    "a row too long, after a cell of two lines": ('image,label\n0.png,"c\nat"\n1.png,a,b\n', "line 4: 3 cells; expected 2"),
    "a header twice": ("image,label,Label\n", "'label' comes twice"),
    "a NUL byte": ("image,label\n0.png,c\0at\n", "line 2: a NUL byte"),
    "Latin-1": ("image,label\n0.png,cat\n1.png,h\xe4se\n".encode("latin-1"), "line 3: the text is not UTF-8"),
    "half a UTF-16": ("image,label\n0.png,cat\n".encode("utf-16")[:-1], "the text is not UTF-8"),
    "a cell without an end": ('image,label\n0.png,"' + "x" * 200_000, "line 2: field larger than field limit"),
    "no column of images": ("name,label\n0.png,cat\n", r"the columns are name, label; expected one called image, path"),
    "nothing": ("", "is empty"),
    "no rows": ("image,label\n", "has no rows"),
    "an image without a name": ("image,label\n0.png,cat\n,dog\n", "line 3: the image is empty"),
    "an image twice": ("image,label\n0.png,cat\n1.png,dog\n0.png,dog\n", r"line 4: the image comes twice, first at labels\.csv, line 2"),
    "an image by two names": ("image,label\n0.png,cat\nimages/0.png,dog\n", "line 3: 'images/0.png' and '0.png' are the same image"),
    "an unknown split": ("image,label,split\n0.png,cat,train\n1.png,cat,fold1\n", "line 3: the split is 'fold1'; expected train, val or test"),
    "a column of the manifest": ("image,label,sha256\n0.png,cat,1\n", "'sha256' is the manifest's own; rename it"),
    "a coordinate that is no number": (f"{BOXES}\n0.png,cat,1,2,3,4\n0.png,cat,1,=2,3,4\n", "line 3: y0 is '=2'; expected a number"),
    "a coordinate that is not finite": (f"{BOXES}\n0.png,cat,1,2,inf,4\n", "line 2: x1 is 'inf'; expected a number"),
    "half a box": (f"{BOXES}\n0.png,cat,1,,3,4\n", "line 2: the box lacks a coordinate"),
    "a box without a label": (f"{BOXES}\n0.png,,1,2,3,4\n", "line 2: a box without a label"),
    "a label without a box": (f"{BOXES}\n0.png,cat,,,,\n", "line 2: a label without a box"),
    "boxes of no class": ("image,x0,y0,x1,y1\n0.png,1,2,3,4\n", "has boxes and no column label"),
    "an image on two sides": (f"{BOXES},split\n0.png,cat,1,2,3,4,train\n0.png,cat,1,2,3,4,val\n", "line 3: the split is another one than at"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_with_its_line(case: str, folder: Path) -> None:
    content, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as refused:
        _read(folder, content)
    assert "\n" not in str(refused.value)


def test_parquet_that_is_damaged_nested_or_too_much_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _parquet({"image": ["0.png"] * 5000, "label": ["x" * 1000] * 5000})
    cases = {
        "no Parquet file": whole[:-20],
        "'label' is list": _parquet({"image": ["0.png"], "label": [["a"]]}),
        "row 3: the image comes twice, first at labels.parquet, row 1": _parquet({"image": ["0.png", "1.png", "0.png"]}),
    }
    for message, content in cases.items():
        with pytest.raises(DataError, match=message):
            _read(folder, content, "labels.parquet")
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 10**6)
    with pytest.raises(DataError, match="unpacks to more than 1,000,000 bytes"):
        _read(folder, whole, "labels.parquet")
    monkeypatch.setattr(table, "MAX_ROWS", 4999)
    with pytest.raises(DataError, match="has 5,000 rows; expected at most 4,999"):
        _read(folder, whole, "labels.parquet")
    (folder / "labels.parquet").unlink()
    with pytest.raises(DataError, match="has more than 4,999 rows"):
        _read(folder, "image\n" + "0.png\n" * 5000)


def test_a_table_is_recognised_by_its_columns(folder: Path) -> None:
    source = str(folder)
    assert not table.plugin.matches(open_source(source))
    for name, content, expected in (
        ("labels.csv", b"Image,Label\n", True),
        ("labels.csv", b"name,colour\n", False),
        ("labels.csv", b"\0\0", False),
        ("labels.parquet", _parquet({"path": ["a"]}), True),
        ("labels.parquet", b"PAR1", False),
    ):
        (folder / name).write_bytes(content)
        assert table.plugin.matches(open_source(source)) == expected
        (folder / name).unlink()
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("image,label\n")
    assert not table.plugin.matches(open_source(source))
    with pytest.raises(DataError, match=r"found 2: a\.csv, b\.csv; expected one table"):
        table.plugin.read(open_source(source), None)


def test_it_is_imported_whole_and_a_label_that_changed_is_a_relabelling(folder: Path, tmp_path: Path) -> None:
    (folder / "labels.csv").write_text("image,label,age\n0.png,cat,1\n1.png,dog,2\n2.png,cat,3\n")
    import_dataset(str(folder), "pets", tmp_path / "data")
    frame = read_manifest(tmp_path / "data/pets")
    assert frame[["image_id", "label", "age"]].to_numpy().tolist() == [
        ["images/0.png", "cat", 1],
        ["images/1.png", "dog", 2],
        ["images/2.png", "cat", 3],
    ]
    (folder / "labels.csv").write_text("image,label,age\n0.png,dog,1\n1.png,dog,2\n2.png,cat,3\n")
    assert import_dataset(str(folder), "pets", tmp_path / "data", mode="append").num_relabelled == 1


@pytest.mark.parametrize("cell", ["1_0", "1e999", "inf", "one", "\u0661"])  # Python reads the first and the last as numbers, Arrow does not
def test_a_coordinate_that_is_no_number_is_named_with_its_row(tmp_path: Path, cell: str) -> None:
    rows = "".join(f"{row}.png,cat,1,2,{cell if row == 5 else 3},4\n" for row in range(9))
    with pytest.raises(DataError, match=rf"line 7: x1 is '?{cell}'?; expected a number"):
        _read(tmp_path, f"image,label,x0,y0,x1,y1\n{rows}".encode(), "labels.csv")


@given(st.booleans(), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_mutated_tables_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, parquet: bool, seed: int) -> None:
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("mutated")
    columns: dict[str, list[Any]] = {"image": ["0.png", "1.png"], "label": ["cat", "dog"], "x0": [1, 2], "y0": [1, 2], "x1": [3, 4], "y1": [3, 4]}
    text = '"image","label","x0","y0","x1","y1"\n"0.png","cat",1,2,3,4\n"1.png","dog",1,2,3,4\n'
    content = bytearray(_parquet(columns) if parquet else text.encode())
    for _ in range(chance.randint(1, 3)):
        content[chance.randrange(len(content))] = chance.choice(b'\0",\n\r=\xff' + bytes([chance.randrange(256)]))
    try:
        reading = _read(folder, bytes(content), "labels.parquet" if parquet else "labels.csv")
    except DataError as error:
        assert "\n" not in str(error)
        return
    assert len(list(reading.images)) == reading.total
