from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.datasets.checks.files import EMBEDDING, FINGERPRINT, THUMBNAIL, embeddings_of, examine, measure_images, thumbnails_of
from components.datasets.checks.suite import Part, Subject
from components.datasets.dataset import Dataset
from components.datasets.manifest import DatasetInfo
from components.datasets.writing import write_dataset
from components.protocols import ImportedImage

Make = Callable[..., Subject]
Told = Callable[[Part, str], dict[int, str]]

INFO = DatasetInfo(name="pets", version="1.0.0", task="segmentation", classes=["cat", "dog"])
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """What is measured of one file of each kind, by id."""
    plain = Image.fromarray(PIXELS)
    turned = Image.Exif()
    turned[0x0112] = 6
    wrong = np.zeros((20, 30), np.uint8)
    wrong[0, :3] = 1
    files = {
        "plain.png": encoded(plain),
        "cmyk.jpg": encoded(plain.convert("CMYK"), "JPEG"),
        "palette.png": encoded(plain.convert("P")),
        "alpha.png": encoded(plain.convert("RGBA")),
        "deep.png": encoded(Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 256)),
        "animated.gif": encoded(plain, "GIF", save_all=True, append_images=[plain.transpose(Image.Transpose.ROTATE_180)]),
        "turned.jpg": encoded(plain, "JPEG", exif=turned),
        "named.png": encoded(plain, "JPEG"),
        "cut.png": encoded(plain)[:300],
        "empty.png": b"",
    }
    images = [ImportedImage(name, content, {}, None) for name, content in files.items()]
    images.append(ImportedImage("masked.png", files["plain.png"], {}, wrong))
    root = tmp_path_factory.mktemp("data")
    write_dataset(images, INFO, root, keep_damaged=True)
    with Dataset.of_folder(root / "pets") as dataset:
        fewer = INFO.model_copy(update={"classes": ["cat"]})
        table = measure_images(root / "pets", fewer, dataset.table, (FINGERPRINT, EMBEDDING, THUMBNAIL))
        assert measure_images(dataset.shards, fewer, dataset.table, (FINGERPRINT,)).equals(table.drop_columns([EMBEDDING, THUMBNAIL]))
    frame = table.to_pandas().set_index("image_id")
    assert frame["sha256"].tolist() == [hashlib.sha256(content).hexdigest() for content in [*files.values(), files["plain.png"]]]
    frame["embedded"] = np.isfinite(embeddings_of(table)).all(axis=1)
    rows, thumbnails = thumbnails_of(table)
    assert thumbnails.shape == (len(rows), 32, 32, 3)
    frame["in_thumbnails"] = np.isin(np.arange(len(frame)), rows)
    return frame


@pytest.mark.parametrize(
    ("name", "found"),
    [
        pytest.param(
            "plain.png", {"format": "PNG", "mode": "RGB", "channels": 3, "bits": 8, "frames": 1, "suffix_fits": True, "alpha": False}, id="plain"
        ),
        pytest.param("cmyk.jpg", {"mode": "CMYK", "channels": 4}, id="CMYK"),
        pytest.param("palette.png", {"mode": "P", "channels": 1}, id="palette"),
        pytest.param("alpha.png", {"mode": "RGBA", "alpha": True}, id="alpha"),
        pytest.param("deep.png", {"bits": 16}, id="16 bits"),
        pytest.param("animated.gif", {"frames": 2}, id="animated"),
        pytest.param("turned.jpg", {"orientation": 6, "height": 30, "width": 20}, id="EXIF"),
        pytest.param("named.png", {"format": "JPEG", "suffix_fits": False}, id="wrong name"),
        pytest.param("masked.png", {"mask_height": 20, "mask_width": 30, "mask_undeclared": "1"}, id="a mask with a class that is none"),
    ],
)
def test_every_kind_of_file_is_told_apart_and_measured_all_the_same(name: str, found: dict[str, Any], measured: pd.DataFrame) -> None:
    row = measured.loc[name]
    assert {key: row[key] for key in found} == found
    assert row["decodes"]
    assert pd.isna(row["damage"])
    assert 0 < row["brightness"] < 1
    assert row["embedded"]
    assert row["in_thumbnails"]
    assert row["fingerprint"]


@pytest.mark.parametrize(("name", "damage"), [("cut.png", "truncated"), ("empty.png", "the file is empty")])
def test_a_damaged_file_has_its_reason_and_nothing_else(name: str, damage: str, measured: pd.DataFrame) -> None:
    row = measured.loc[name]
    assert damage in row["damage"]
    assert not row["decodes"]
    assert not row["embedded"]
    assert not row["in_thumbnails"]
    assert row[["height", "brightness", "format", "fingerprint"]].isna().all()


@pytest.mark.parametrize(
    ("row", "column", "text"),
    [
        pytest.param({"decodes": False, "damage": "the file is empty"}, "damage", "the file is empty", id="damaged"),
        pytest.param({"found_sha256": "f" * 64}, "changed_bytes", "SHA-256 ffffffffffff…", id="other bytes"),
        pytest.param({"suffix_fits": False, "format": "WEBP"}, "wrong_suffix", "WEBP", id="wrong name"),
        pytest.param({"mode": "CMYK"}, "cmyk", "CMYK", id="CMYK"),
        pytest.param({"mode": "LA", "alpha": True}, "alpha_mode", "LA", id="alpha"),
        pytest.param({"mode": "P"}, "palette_mode", "P", id="palette"),
        pytest.param({"mask_sha256": "1", "mask_damage": "torn"}, "mask_damage", "torn", id="damaged mask"),
        pytest.param({"mask_sha256": "1", "mask_height": 60, "mask_width": 40}, "mask_size", "40×60, the image 60×40", id="mask of another size"),
        pytest.param({"mask_sha256": "1", "mask_undeclared": "7, 9"}, "mask_undeclared", "7, 9", id="mask with undeclared classes"),
    ],
)
def test_each_fault_is_told_in_its_column_alone(row: dict[str, Any], column: str, text: str, make_subject: Make, told: Told) -> None:
    part = examine(make_subject({"mask_sha256": "0", "mask_height": 40, "mask_width": 60}, row))
    texts = [name for name in part.columns if pd.Series(part.columns[name]).dtype != "float64"]
    assert {name: found for name in texts if (found := told(part, name))} == {column: {1: text}}
    assert column in {rule.options["column"] for rule in part.rules}


def test_numbers_are_what_great_expectations_judges_all_at_once(make_subject: Make) -> None:
    part = examine(make_subject({}, {"decodes": False, "damage": "torn", "height": None, "frames": None}))
    numbers = {rule.options["column"] for rule in part.rules if rule.kind == "ExpectColumnValuesToBeBetween"}
    assert {str(pd.Series(part.columns[name]).dtype) for name in numbers} == {"float64"}
