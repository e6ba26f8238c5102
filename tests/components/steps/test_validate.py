from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.config import section_of
from components.datasets.checks.config import ValidateConfig
from components.datasets.manifest import DatasetInfo, read_manifest
from components.datasets.writing import write_dataset
from components.errors import ConfigError, DataError, GateRefused
from components.protocols import ImportedImage
from components.records import Verdict
from components.steps.validate import validate
from tests.components.datasets.conftest import write_manifest

INFO = DatasetInfo(name="pets", version="1.0.0", task="classification", classes=["cat", "dog"])


def _image(seed: int, size: tuple[int, int] = (12, 10)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _blank(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 10), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


GOOD = [ImportedImage(f"{index:02}.png", _image(index), {"label": ("cat", "dog")[index % 2]}) for index in range(20)]


def _extra(image_id: str, content: bytes, label: str = "cat") -> list[ImportedImage]:
    return [*GOOD, ImportedImage(image_id, content, {"label": label})]


def _judge(images: list[ImportedImage], root: Path, info: DatasetInfo = INFO, **settings: Any) -> Verdict:
    write_dataset(images, info, root, "replace", keep_damaged=True)
    return validate(section_of({"validate": settings}, ValidateConfig), root / info.name, root / "report")


def _failures(root: Path) -> list[tuple[str, str, str]]:
    table = pd.read_csv(root / "report" / "failures.csv")
    return list(table[["image_id", "expectation", "level"]].itertuples(index=False, name=None))


def test_good_data_passes_with_a_complete_report(tmp_path: Path) -> None:
    verdict = _judge(GOOD, tmp_path, min_images=20, min_class_images=10, class_share=[0.4, 0.6], size=[10, 12])
    assert verdict.passed
    assert verdict.class_counts == {"cat": 10, "dog": 10}
    assert Verdict.load(tmp_path / "report/verdict.json") == verdict
    assert _failures(tmp_path) == []
    assert list((tmp_path / "report/pictures").iterdir()) == []
    assert "images decode" in (tmp_path / "report/docs/expectations/images.html").read_text()
    assert (tmp_path / "report/docs/index.html").is_file()
    measured = pd.read_parquet(tmp_path / "report/measurements.parquet")
    assert measured["sha256"].tolist() == [hashlib.sha256(image.content).hexdigest() for image in GOOD]
    assert measured[["height", "width", "channels"]].drop_duplicates().to_numpy().tolist() == [[10, 12, 3]]
    assert measured["decodes"].all()


@pytest.mark.parametrize(
    ("images", "settings", "expectation", "offender"),
    [
        pytest.param(_extra("cut.png", _image(99)[:200]), {}, "images decode", "cut.png", id="truncated"),
        pytest.param(_extra("text.png", b"hello"), {}, "images decode", "text.png", id="no image"),
        pytest.param(_extra("empty.png", b""), {}, "images decode", "empty.png", id="empty"),
        pytest.param(_extra("cow.png", _image(99), "cow"), {}, "labels are declared classes", "cow.png", id="label outside the classes"),
        pytest.param(_extra("wide.png", _image(99, (40, 10))), {"size": [4, 30]}, "widths are in bounds", "wide.png", id="too wide"),
        pytest.param(_extra("low.png", _image(99, (12, 3))), {"size": [4, 30]}, "heights are in bounds", "low.png", id="too low"),
        pytest.param(
            _extra("white.png", _blank(255)), {"brightness": [0.1, 0.9], "max_unclear": 0.0}, "brightness is in bounds", "white.png", id="white"
        ),
        pytest.param(_extra("gray.png", _blank(128)), {"min_contrast": 0.02, "max_unclear": 0.0}, "contrast is enough", "gray.png", id="blank"),
        pytest.param(_extra("copy.png", _image(0), "dog"), {}, "the same bytes have one label", "copy.png", id="same bytes under two labels"),
    ],
)
def test_bad_images_are_refused_and_named(
    images: list[ImportedImage], settings: dict[str, Any], expectation: str, offender: str, tmp_path: Path
) -> None:
    with pytest.raises(GateRefused) as refusal:
        _judge(images, tmp_path, **settings)
    text = str(refusal.value)
    assert expectation in text
    assert offender in text
    assert len(text.splitlines()) <= 6
    assert (offender, expectation, "fail") in _failures(tmp_path)
    assert not Verdict.load(tmp_path / "report/verdict.json").passed
    assert (tmp_path / "report/pictures/offenders.png").is_file()
    assert offender in (next((tmp_path / "report/docs/validations/images").rglob("*.html"))).read_text()


@pytest.mark.parametrize(
    ("images", "classes", "settings", "text"),
    [
        pytest.param(GOOD[::2], ["cat"], {}, "there are two classes or more: found 1; expected at least 2", id="one class only"),
        pytest.param(
            GOOD[:-1:2] + GOOD[-1:],
            ["cat", "dog"],
            {},
            "each class has its images: .*dog \\(1\\).*expected at least 2",
            id="a class with a single image",
        ),
        pytest.param(GOOD, ["cat", "cow", "dog"], {}, "each class has its images: .*cow \\(0\\)", id="a class without images"),
        pytest.param(
            GOOD, ["cat", "dog"], {"max_class_images": 9}, "each class has its images: broken by 2 of .*expected 2 to 9", id="too many of a class"
        ),
        pytest.param(GOOD, ["cat", "dog"], {"class_share": [0.0, 0.4]}, "class shares are in bounds: broken by 2 of ", id="class shares"),
        pytest.param(GOOD, ["cat", "dog"], {"min_images": 21}, "there are enough images: found 20; expected at least 21", id="too few"),
    ],
)
def test_bad_counts_are_refused(images: list[ImportedImage], classes: list[str], settings: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(GateRefused, match=text):
        _judge(images, tmp_path, INFO.model_copy(update={"classes": classes}), **settings)


def test_a_flood_of_failures_is_told_in_six_lines(tmp_path: Path) -> None:
    images = [ImportedImage(f"{index}.png", b"broken", {"label": "cow"}) for index in range(300)]
    with pytest.raises(GateRefused) as refusal:
        _judge(images, tmp_path)
    assert len(str(refusal.value).splitlines()) <= 6
    assert "broken by 300 of 300 images" in str(refusal.value)
    assert len(_failures(tmp_path)) >= 600


def test_what_is_tolerated_is_listed_but_passes(tmp_path: Path) -> None:
    verdict = _judge(_extra("white.png", _blank(255)), tmp_path, brightness=[0.1, 0.9], min_sharpness=0.001, max_unclear=0.05)
    assert verdict.passed
    assert _failures(tmp_path) == [("white.png", "brightness is in bounds", "warn"), ("white.png", "sharpness is enough", "warn")]


def test_label_conflicts_may_be_tolerated_by_count(tmp_path: Path) -> None:
    images = _extra("copy.png", _image(0), "dog")
    assert _judge(images, tmp_path, max_label_conflicts=2).passed
    with pytest.raises(GateRefused, match=r"the same bytes have one label: broken by 2 of 21 images: 00\.png"):
        _judge(images, tmp_path, max_label_conflicts=1)


def test_bytes_that_are_not_the_manifests_are_noticed(tmp_path: Path) -> None:
    write_dataset(GOOD, INFO, tmp_path)
    row = read_manifest(tmp_path / "pets").iloc[3]
    with (tmp_path / "pets/shards" / row["shard"]).open("r+b") as file:
        file.seek(row["offset"] + row["length"] - 1)
        file.write(b"\x00")
    with pytest.raises(GateRefused, match=r"bytes are as imported: broken by 1 of 20 images: 03\.png"):
        validate(ValidateConfig(), tmp_path / "pets", tmp_path / "report")


def test_ids_that_come_twice_and_missing_labels_are_noticed(tmp_path: Path) -> None:
    write_dataset(GOOD, INFO, tmp_path)
    frame = read_manifest(tmp_path / "pets")
    frame.loc[1, "image_id"] = "00.png"
    frame.loc[2, "label"] = None
    write_manifest(frame, tmp_path / "pets/manifest.parquet")
    with pytest.raises(
        GateRefused, match=r"image ids are unique: broken by 2 of 20 images: 00.png (.|\n)*each image is annotated: broken by 1 of 20 images: 02.png"
    ):
        validate(ValidateConfig(), tmp_path / "pets", tmp_path / "report")


def test_equal_data_gives_equal_bytes_where_a_stage_depends_on_them(tmp_path: Path) -> None:
    for root in (tmp_path / "one", tmp_path / "two"):
        _judge(GOOD, root)
    for name in ("verdict.json", "failures.csv", "measurements.parquet"):
        assert (tmp_path / "one/report" / name).read_bytes() == (tmp_path / "two/report" / name).read_bytes()


def test_a_missing_dataset_or_shard_is_an_input_error_and_leaves_no_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pets not found"):
        validate(ValidateConfig(), tmp_path / "pets", tmp_path / "report")
    write_dataset(GOOD, INFO, tmp_path)
    (tmp_path / "pets/shards/000000.tar").unlink()
    with pytest.raises(DataError, match=r"000000\.tar not found"):
        validate(ValidateConfig(), tmp_path / "pets", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_bounds_have_their_order(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"validate\.size: .*the lower first"):
        section_of({"validate": {"size": [30, 4]}}, ValidateConfig)
