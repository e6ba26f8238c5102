from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from components.datasets.dataset import Dataset
from components.datasets.manifest import DatasetInfo
from components.datasets.versions.diff import diff
from components.datasets.writing import write_dataset
from components.protocols import ImportedImage
from components.reporting.data_diff import NUM_PICTURES, render


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((32, 32, 3), value, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def page(root: Path, before: list[ImportedImage], after: list[ImportedImage]) -> str:
    for name, images in (("a", before), ("b", after)):
        info = DatasetInfo(name=name, version="1.0.0", task="detection", classes=["cat", "dog"] if name == "a" else ["dog", "cat"])
        write_dataset(images, info, root, keep_damaged=True)
    with Dataset.of_folder(root / "a") as a, Dataset.of_folder(root / "b") as b:
        return render(diff(a.table, b.table, a.info.classes), a, b, ("pets@v1.0.0", "pets@v1.1.0"))


def boxed(image_id: str, box: list[float], content: bytes | None = None) -> ImportedImage:
    return ImportedImage(image_id, png(0) if content is None else content, {"boxes_xyxy": [box], "box_labels": ["cat"]})


def test_a_box_is_seen_where_it_was_and_where_it_is(tmp_path: Path) -> None:
    html = page(tmp_path, [boxed("a.png", [2, 2, 10, 10])], [boxed("a.png", [20, 20, 30, 30])])
    shown = [Image.open(io.BytesIO(base64.b64decode(found))).convert("L") for found in re.findall(r'base64,([^"]+)"', html)]
    assert [image.getbbox() for image in shown] == [(2, 2, 11, 11), (20, 20, 31, 31)]
    assert "boxes are counted" in html
    assert "The same classes in another order" in html


def test_names_from_outside_are_text_and_damaged_images_are_said_to_be(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>.png"
    html = page(tmp_path, [boxed("a.png", [0, 0, 1, 1])], [boxed("a.png", [0, 0, 1, 1]), boxed(evil, [0, 0, 1, 1], b"no image")])
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert ">damaged<" in html


def test_of_many_images_a_few_are_shown(tmp_path: Path) -> None:
    html = page(tmp_path, [boxed("a.png", [0, 0, 1, 1])], [boxed(f"{number}.png", [0, 0, 1, 1], png(number)) for number in range(60)])
    added = html[html.index("<h2>Added") : html.index("<h2>Removed")]
    assert added.count("<img") == NUM_PICTURES
    assert f"{NUM_PICTURES} of them, taken evenly" in added
