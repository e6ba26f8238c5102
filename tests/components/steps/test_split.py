from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import section_of
from components.datasets.manifest import DatasetInfo, dataset_ref, write_dataset_info, write_manifest
from components.datasets.splits import read_splits
from components.errors import ConfigError, DataError, GateRefused
from components.records import Verdict
from components.steps.split import SplitConfig, assign_sides, side_of, split

CONFIG = SplitConfig()


def _frame(contents: list[Any], groups: list[str | None] | None = None, given: list[str | None] | None = None) -> pd.DataFrame:
    sha256 = [hashlib.sha256(str(content).encode()).hexdigest() for content in contents]
    none = [None] * len(contents)
    columns = {"sha256": sha256, "group": groups or none, "split": given or none}
    return pd.DataFrame({"image_id": [str(index) for index in range(len(contents))], **{k: pd.Series(v, dtype=object) for k, v in columns.items()}})


def _dataset(folder: Path, frame: pd.DataFrame, passed: bool = True) -> Path:
    folder.mkdir(parents=True)
    labels = np.resize(["a", "b"], len(frame))
    write_manifest(frame.assign(shard="0", offset=0, length=1, label=labels), folder / "manifest.parquet")
    write_dataset_info(DatasetInfo(name="pets", version="1", task="classification", classes=["a", "b"]), folder)
    Verdict(passed=passed, dataset=dataset_ref(folder), expectations=[], class_counts={}).save(folder.parent / "verdict.json")
    return folder


rows = st.lists(st.tuples(st.integers(0, 30), st.none() | st.sampled_from("ABCDEF")), min_size=1, max_size=60)


@given(rows, rows)
@settings(deadline=None)
def test_a_growing_dataset_never_moves_an_image(old: list[tuple[int, str | None]], new: list[tuple[int, str | None]]) -> None:
    before = assign_sides(CONFIG, _frame([content for content, _ in old], [group for _, group in old]))
    after = assign_sides(CONFIG, _frame([content for content, _ in old + new], [group for _, group in old + new]))
    for was, now in zip(before, after, strict=False):
        assert now == was or now is None  # a copy in another group may take its place, on a stronger side


@given(rows)
@settings(deadline=None)
def test_identical_images_and_groups_stand_on_one_side(old: list[tuple[int, str | None]]) -> None:
    frame = _frame([content for content, _ in old], [group for _, group in old])
    frame["side"] = assign_sides(CONFIG, frame)
    kept = frame[frame["side"].notna()]
    assert (kept.groupby("sha256")["side"].nunique() == 1).all()
    assert (kept.groupby("group")["side"].nunique() <= 1).all()
    assert set(kept["sha256"]) == set(frame["sha256"])  # one copy of each image stays


def test_the_side_depends_on_seed_and_bytes_or_group_alone() -> None:
    contents = list(range(4000))
    frame = _frame(contents)
    sides = assign_sides(CONFIG, frame)
    assert list(sides) == [side_of(CONFIG, sha256) for sha256 in frame["sha256"]]
    shares = sides.value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.65, abs=0.03)
    assert shares["test"] == pytest.approx(0.20, abs=0.03)
    assert (assign_sides(SplitConfig(seed=1), frame) != sides).mean() > 0.3
    assert side_of(CONFIG, "0", "patient 7") == side_of(CONFIG, "1", "patient 7")


def test_another_share_of_val_moves_no_test_image() -> None:
    frame = _frame(list(range(1000)))
    config = section_of({"split": {"shares": {"train": 0.7, "val": 0.1, "test": 0.2}}}, SplitConfig)
    assert ((assign_sides(CONFIG, frame) == "test") == (assign_sides(config, frame) == "test")).all()


def test_a_given_split_is_respected_and_val_carved_out_of_train() -> None:
    frame = _frame(list(range(1000)), given=["test"] * 300 + ["train"] * 700)
    sides = assign_sides(CONFIG, frame)
    assert (sides[:300] == "test").all()
    assert set(sides[300:]) == {"train", "val"}
    assert (sides == "val").sum() == pytest.approx(700 * 0.15 / 0.80, abs=40)
    whole = _frame(list(range(100)), given=["test"] * 30 + ["val"] * 30 + ["train"] * 40)
    assert list(assign_sides(CONFIG, whole)) == ["test"] * 30 + ["val"] * 30 + ["train"] * 40


@pytest.mark.parametrize(
    ("contents", "groups", "what"),
    [
        pytest.param([1, 2, 1, 3], [None] * 4, "identical images", id="identical images"),
        pytest.param([1, 2, 3, 4], ["x", None, "x", None], "images of one group", id="a group"),
    ],
)
def test_a_leak_across_a_given_split_is_refused_with_its_pairs_or_dropped(contents: list[int], groups: list[str | None], what: str) -> None:
    frame = _frame(contents, groups, ["train", "train", "test", "val"])
    with pytest.raises(GateRefused, match=rf"leaks: 1 times {what}(.|\n)*0 \(train\) and 2 \(test\)"):
        assign_sides(CONFIG, frame)
    assert list(assign_sides(SplitConfig(on_leak="drop"), frame)) == [None, "train", "test", "val"]


def test_an_unknown_given_side_is_named() -> None:
    with pytest.raises(DataError, match="names 'dev'; expected train, val, test"):
        assign_sides(CONFIG, _frame([1, 2], given=["train", "dev"]))


def test_split_writes_every_image_with_its_side(tmp_path: Path) -> None:
    data = _dataset(tmp_path / "data/pets", _frame([*range(100), 0], groups=[*[None] * 100, "z"]))
    record = split(CONFIG, data, tmp_path / "data/verdict.json", tmp_path / "splits.parquet")
    sides = read_splits(tmp_path / "splits.parquet")
    assert list(sides.index) == [str(index) for index in range(101)]
    assert record.counts == sides.value_counts().reindex(["train", "val", "test"]).to_dict()
    assert record.num_left_out == sides.isna().sum()
    first = (tmp_path / "splits.parquet").read_bytes()
    split(CONFIG, data, tmp_path / "data/verdict.json", tmp_path / "splits.parquet")
    assert (tmp_path / "splits.parquet").read_bytes() == first


def test_a_refused_or_stale_verdict_stops_it(tmp_path: Path) -> None:
    refused = _dataset(tmp_path / "one/pets", _frame(list(range(100))), passed=False)
    with pytest.raises(GateRefused, match="validation refused"):
        split(CONFIG, refused, tmp_path / "one/verdict.json", tmp_path / "splits.parquet")
    other = _dataset(tmp_path / "two/pets", _frame(list(range(90))))
    with pytest.raises(DataError, match="run validate again"):
        split(CONFIG, other, tmp_path / "one/verdict.json", tmp_path / "splits.parquet")
    assert not (tmp_path / "splits.parquet").exists()


def test_an_empty_side_and_a_class_without_training_images_are_errors(tmp_path: Path) -> None:
    tiny = _dataset(tmp_path / "one/pets", _frame([1, 2]))
    with pytest.raises(DataError, match=r"the split '(val|test|train)' is empty: 2 images"):
        split(CONFIG, tiny, tmp_path / "one/verdict.json", tmp_path / "splits.parquet")
    given = np.resize(["train", "test"], 40).tolist()
    one_sided = _dataset(tmp_path / "two/pets", _frame(list(range(40)), given=given))
    with pytest.raises(DataError, match="no training image of b"):
        split(CONFIG, one_sided, tmp_path / "two/verdict.json", tmp_path / "splits.parquet")


def test_shares_have_to_sum_to_one() -> None:
    with pytest.raises(ConfigError, match=r"split\.shares: .*sum to 1, these sum to 1\.1"):
        section_of({"split": {"shares": {"train": 0.7, "val": 0.2, "test": 0.2}}}, SplitConfig)
