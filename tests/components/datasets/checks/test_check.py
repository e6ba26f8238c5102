from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.datasets.checks.check import Findings, Looked, check, judge_subject
from components.datasets.checks.config import Levels, ValidateConfig
from components.datasets.checks.suite import Subject
from components.datasets.dataset import Dataset
from components.datasets.manifest import DatasetInfo
from components.datasets.splits import read_near_duplicates
from components.datasets.writing import write_dataset
from components.protocols import ImportedImage

INFO = DatasetInfo(name="pets", version="1.0.0", task="classification", classes=["cat", "dog"])


def photo(seed: int, light: float = 1.0, quality: int = 95) -> bytes:
    """A smooth picture, as JPEG."""
    noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)).resize((64, 48), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    noise.point(lambda value: round(value * light)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def images(count: int, start: int = 0, light: float = 1.0) -> list[ImportedImage]:
    return [ImportedImage(f"{seed}.jpg", photo(seed, light), {"label": ("cat", "dog")[seed % 2]}) for seed in range(start, start + count)]


def outcome(findings: Findings, key: str) -> Any:
    return next(one for one in findings.outcomes if one.rule.key == key)


def test_near_duplicates_across_splits_refuse_and_every_pair_has_its_picture(tmp_path: Path) -> None:
    pets = [ImportedImage(f"train/{seed}.jpg", photo(seed), {"label": "cat", "split": "train"}) for seed in range(13)]
    pets += [ImportedImage(f"test/{seed}.jpg", photo(seed, quality=60), {"label": "dog", "split": "test"}) for seed in range(13)]
    write_dataset(pets, INFO, tmp_path)
    findings = check(ValidateConfig(), tmp_path / "pets", tmp_path / "report")
    assert not findings.verdict.passed
    assert [entry.name for entry in findings.verdict.expectations if not entry.success] == ["no near duplicate on another side of the split"]
    assert outcome(findings, "near_duplicates_across_splits").num_broken == 13
    pairs = read_near_duplicates(tmp_path / "report/near_duplicates.parquet")
    assert pairs.to_numpy().tolist() == [[f"train/{seed}.jpg", f"test/{seed}.jpg"] for seed in range(13)]
    assert sorted(path.name for path in (tmp_path / "report/pictures").iterdir()) == [
        "across_splits_01.png",
        "across_splits_02.png",
        "near_duplicates.png",
        "offenders.png",
    ]
    page = (tmp_path / "report/index.html").read_text()
    assert "pets 1.0.0: 26 images checked, 1 rule of" in page
    assert "It may not be trained on" in page
    assert "test/0.jpg: in test, as train/0.jpg in train (re-encoded" in page
    assert "across_splits_02.png" in page


def test_the_report_is_the_same_every_time(tmp_path: Path) -> None:
    write_dataset([*images(6), ImportedImage("broken.jpg", photo(1)[:200], {"label": "cat"})], INFO, tmp_path, keep_damaged=True)
    for name in ("one", "two"):
        check(ValidateConfig(), tmp_path / "pets", tmp_path / name)
    for name in ("index.html", "verdict.json", "failures.csv", "measurements.parquet", "near_duplicates.parquet", "pictures/offenders.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_drift_is_told_against_the_version_before_and_the_images_it_shares_are_not_read_again(tmp_path: Path) -> None:
    before = images(60)
    write_dataset(before, INFO, tmp_path / "before")
    write_dataset([*before[:10], *images(60, 100, light=0.6)], INFO.model_copy(update={"version": "2.0.0"}), tmp_path / "now")
    with Dataset.of_folder(tmp_path / "before/pets") as reference:
        shared = {reference.table.column("offset")[row].as_py() for row in range(10)}
        reference.shards = Watched(reference.shards)
        findings = check(ValidateConfig(), tmp_path / "now/pets", tmp_path / "report", reference)
        assert len(reference.shards.offsets) == 50
        assert not shared & set(reference.shards.offsets)
    drifted = outcome(findings, "drift")
    assert drifted.rule.name == "the images are as in pets 1.0.0"
    assert any("brightness" in text for text in drifted.broken["found"])
    assert findings.verdict.passed, "drift is told, and refuses nothing unless params.yaml says so"
    with Dataset.of_folder(tmp_path / "now/pets") as same:
        assert outcome(check(ValidateConfig(), tmp_path / "now/pets", tmp_path / "report", same), "drift").success


class Watched:
    """Shards that remember what was read."""

    def __init__(self, shards: Any) -> None:
        self.shards, self.offsets = shards, list[int]()

    def read(self, shard: str, offset: int, length: int) -> bytes:
        self.offsets.append(offset)
        return bytes(self.shards.read(shard, offset, length))

    def close(self) -> None:
        self.shards.close()


def test_likely_wrong_labels_are_a_report_and_what_the_import_left_out_is_told(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pets = []
    for number in range(80):
        light = (60, 200)[number % 2]
        buffer = io.BytesIO()
        Image.fromarray(np.clip(generator.normal(light, 20, (16, 16, 3)), 0, 255).astype(np.uint8)).save(buffer, "PNG")
        label = ("cat", "dog")[number % 2 if number != 7 else 0]
        pets.append(ImportedImage(f"{number}.png", buffer.getvalue(), {"label": label}))
    write_dataset(pets, INFO, tmp_path)
    quarantine = tmp_path / "quarantine.csv"
    quarantine.write_text("image_id,reason\nnotes.txt,no image\n")
    config = ValidateConfig(levels=Levels(label_errors="warn"))
    findings = check(config, tmp_path / "pets", tmp_path / "report", left_out=quarantine)
    assert findings.verdict.passed
    assert "7.png" in set(outcome(findings, "label_errors").broken["key"])
    assert "7.png" in (tmp_path / "report/pictures/label_errors.csv").read_text()
    assert (tmp_path / "report/pictures/label_errors.png").is_file()
    assert outcome(findings, "left_out").broken.to_dict("records") == [{"key": "notes.txt", "found": "no image"}]


def test_rules_depend_on_what_the_task_needs(make_subject: Callable[..., Subject], tmp_path: Path) -> None:
    nothing = pd.DataFrame({"first": [], "second": [], "how": []}).astype({"first": "int64", "second": "int64"})
    rows = [{"boxes_xyxy": [[0, 0, 9, 9]], "box_labels": [name]} for name in ("cat", "dog", "cat", "dog")]
    subject = make_subject(*rows, task="detection")
    findings = judge_subject(subject, Looked(subject.measurements, nothing), tmp_path / "docs")
    keys = {one.rule.key for one in findings.outcomes}
    assert findings.verdict.passed
    assert {"empty_boxes", "unlabelled", "class_images"} <= keys
    assert not {"num_classes", "mask_size", "short_polygons"} & keys
    assert findings.verdict.class_counts == {"cat": 2, "dog": 2}


def test_every_rule_has_its_level_in_params_yaml(make_subject: Callable[..., Subject], tmp_path: Path) -> None:
    nothing = pd.DataFrame({"first": [], "second": [], "how": []}).astype({"first": "int64", "second": "int64"})
    row = {"boxes_xyxy": [[0, 0, 9, 9]], "box_labels": ["cat"], "polygons": [[[0, 0, 9, 0, 9, 9]]], "mask_sha256": "1", "label": "cat"}
    every = Levels(**dict.fromkeys(set(Levels.model_fields) - {"label_errors"}, "fail"), label_errors="warn")
    subject = make_subject(row, row | {"label": "dog"}, levels=every)
    suspects = pd.DataFrame({"index": [0], "label": ["cat"], "suggested": ["dog"], "quality": [0.1], "issue": [True]})
    left_out = pd.DataFrame({"image_id": ["a"], "reason": ["b"]})
    findings = judge_subject(subject, Looked(subject.measurements, nothing, suspects, []), tmp_path / "docs", left_out)
    assert {one.rule.key for one in findings.outcomes} == set(Levels.model_fields) - {"drift"}  # nothing was found that could drift


@pytest.mark.shared_data
def test_the_two_boxes_without_an_area_of_bccd_are_found(shared_data: Path, tmp_path: Path) -> None:
    import tarfile

    from components.datasets.importing import import_dataset

    with tarfile.open(shared_data / "bccd.tar") as tar:
        tar.extractall(tmp_path)
    import_dataset(str(tmp_path / "BCCD"), "bccd", tmp_path / "data", format="voc")
    findings = check(ValidateConfig(), tmp_path / "data/bccd", tmp_path / "report")
    assert outcome(findings, "empty_boxes").broken.to_dict("records") == [
        {"key": "JPEGImages/BloodImage_00338.jpg", "found": "box 12 (RBC): 0×0 pixels"},
        {"key": "JPEGImages/BloodImage_00343.jpg", "found": "box 3 (RBC): 0×0 pixels"},
    ]
