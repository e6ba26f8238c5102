from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
from hypothesis import given
from hypothesis import strategies as st

from components.datasets.annotations import IGNORE
from components.datasets.manifest import ANNOTATIONS
from components.datasets.versions.diff import diff, rows_equal
from components.datasets.versions.opening import open_version
from components.protocols import ImportedImage
from components.reporting.data_diff import write_diff
from tests.components.datasets.versions.conftest import labelled, picture, write

Commit = Callable[..., str]
BOX = st.lists(st.sampled_from([0.0, 1.5]), min_size=4, max_size=4)
CELLS = {
    "label": st.none() | st.sampled_from(["", "cat"]),
    "boxes_xyxy": st.none() | st.lists(BOX, max_size=2),
    "box_labels": st.none() | st.lists(st.none() | st.sampled_from(["cat", "dog"]), max_size=2),
    "polygons": st.none() | st.lists(st.lists(st.lists(st.sampled_from([0.0, 1.0]), max_size=2), max_size=2), max_size=2),
}


@given(st.sampled_from(sorted(CELLS)).flatmap(lambda name: st.tuples(st.just(name), st.lists(st.tuples(CELLS[name], CELLS[name]), max_size=8))))
def test_columns_are_compared_as_python_compares_their_cells(drawn: tuple[str, list[tuple[Any, Any]]]) -> None:
    name, pairs = drawn
    one, other = (pa.array([pair[side] for pair in pairs], ANNOTATIONS[name]) for side in (0, 1))
    assert rows_equal(one, other).tolist() == [a == b for a, b in pairs]
    half = len(pairs) // 2  # a slice keeps its parent's buffers
    assert rows_equal(one[half:], other[half:]).tolist() == [a == b for a, b in pairs[half:]]


def test_what_changed_is_counted_listed_and_shown(pets: Path, commit: Commit, tmp_path: Path) -> None:
    commit(pets)
    changes = [labelled("00.png", "dog"), labelled("01.png", "dog", picture("another")), labelled("new.png", "bird")]
    write(pets, changes, "append", classes=["cat", "dog", "bird"])
    commit(pets)
    gone = [labelled(f"{number:02d}.png", ["cat", "dog"][number % 2]) for number in range(2, 12)]
    with open_version("pets@v1.0.0") as a, open_version("pets") as b:
        found = diff(a.table, b.table, b.info.classes)
        assert found.num == {"added": 1, "removed": 0, "bytes changed": 1, "relabelled": 1, "boxes changed": 0, "mask changed": 0}
        assert found.confusions().to_pylist() == [{"from": "cat", "to": "dog", "images": 1}]
        rows = {row["class"]: row for row in found.counts().to_pylist()}
        assert (rows["cat"]["A"], rows["cat"]["B"], rows["cat"]["relabelled from"]) == (6, 5, 1)
        assert (rows["bird"]["A"], rows["bird"]["B"], rows["bird"]["added"]) == (0, 1, 1)
        write_diff(found, a, b, ("pets@v1.0.0", "pets"), tmp_path / "page")
    listed = pyarrow.csv.read_csv(tmp_path / "page" / "changes.csv").to_pylist()
    assert {"change": "relabelled", "image_id": "00.png", "from": "cat", "to": "dog"} in listed
    page = (tmp_path / "page" / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 4  # one added, one relabelled, the changed one before and after
    assert "http" not in page.replace("http-equiv", "")
    write(pets, gone, "replace")
    with open_version("pets@v1.1.0") as a, open_version("pets") as b:
        assert diff(a.table, b.table).num["removed"] == 3


def test_boxes_and_masks(project: Path, commit: Commit, tmp_path: Path) -> None:
    import numpy as np

    def boxed(image_id: str, boxes: list[list[float]], fill: int) -> ImportedImage:
        row = {"boxes_xyxy": boxes, "box_labels": ["cat"] * len(boxes)}
        return ImportedImage(image_id, picture(image_id), row, np.full((8, 8), fill, dtype=np.uint8))

    write(project, [boxed("a.png", [[0, 0, 4, 4]], 0), boxed("b.png", [], 0), boxed("c.png", [[1, 1, 2, 2]], 0)])
    commit(project)
    write(project, [boxed("a.png", [[0, 0, 4, 5]], 0), boxed("b.png", [], IGNORE)], "append")
    with open_version("pets@v1.0.0") as a, open_version("pets") as b:
        found = diff(a.table, b.table, a.info.classes)
        assert {kind: count for kind, count in found.num.items() if count} == {"boxes changed": 1, "mask changed": 1}
        write_diff(found, a, b, ("A", "B"), tmp_path / "page")
    assert (tmp_path / "page" / "index.html").read_text().count("data:image/png") == 4


def test_the_list_is_safe_of_nothing_changed(pets: Path, commit: Commit, tmp_path: Path) -> None:
    commit(pets)
    with open_version("pets@v1.0.0") as a, open_version("pets") as b:
        found = diff(a.table, b.table)
        write_diff(found, a, b, ("A", "B"), tmp_path / "page")
    assert not any(found.num.values())
    assert "the same images with the same annotations" in (tmp_path / "page" / "index.html").read_text()
