from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.__main__ import main
from components.config import section_of
from components.datasets.manifest import DatasetInfo, dataset_ref, write_dataset_info
from components.datasets.masks import mask_png
from components.datasets.splits import read_splits, write_near_duplicates
from components.datasets.writing import write_dataset
from components.errors import ConfigError, DataError, GateRefused
from components.protocols import ImportedImage
from components.records import Verdict
from components.steps.split import SplitConfig, assign_sides, side_of, split
from tests.components.datasets.conftest import write_manifest

CONFIG, STRATIFIED = SplitConfig(), SplitConfig(stratify=True)


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
links = st.lists(st.tuples(st.integers(0, 119), st.integers(0, 119)), max_size=60)


def _pairs(links: list[tuple[int, int]], num_images: int) -> list[tuple[int, int]]:
    return [(one, other) for one, other in links if one != other and max(one, other) < num_images]


@given(rows, rows, links)
@settings(deadline=None)
def test_a_growing_dataset_never_moves_an_image(
    old: list[tuple[int, str | None]], new: list[tuple[int, str | None]], links: list[tuple[int, int]]
) -> None:
    both = old + new
    before = assign_sides(CONFIG, _frame([content for content, _ in old], [group for _, group in old]), _pairs(links, len(old)))
    after = assign_sides(CONFIG, _frame([content for content, _ in both], [group for _, group in both]), _pairs(links, len(both)))
    assert list(after[: len(old)]) == list(before)


@given(rows, links)
@settings(deadline=None)
def test_identical_images_near_duplicates_and_groups_stand_on_one_side(old: list[tuple[int, str | None]], links: list[tuple[int, int]]) -> None:
    frame = _frame([content for content, _ in old], [group for _, group in old])
    pairs = _pairs(links, len(old))
    frame["side"] = assign_sides(CONFIG, frame, pairs)
    kept = frame[frame["side"].notna()]
    assert (kept.groupby("sha256")["side"].nunique() == 1).all()
    assert (kept.groupby("group")["side"].nunique() <= 1).all()
    assert all(frame["side"][one] == frame["side"][other] for one, other in pairs if one in kept.index and other in kept.index)
    assert frame["side"].notna()[0]  # whatever comes, the first image stays
    if not pairs:
        assert set(kept["sha256"]) == set(frame["sha256"])  # one copy of each image stays


@given(rows, links, st.lists(st.sampled_from(["train", "test", None]), min_size=60, max_size=60))
@settings(deadline=None)
def test_with_leaks_dropped_nothing_stands_on_two_sides_of_a_given_split_either(
    old: list[tuple[int, str | None]], links: list[tuple[int, int]], given: list[str | None]
) -> None:
    frame = _frame([content for content, _ in old], [group for _, group in old], given[: len(old)])
    pairs = _pairs(links, len(old))
    frame["side"] = assign_sides(SplitConfig(on_leak="drop"), frame, pairs)
    kept = frame[frame["side"].notna()]
    assert (kept.groupby("sha256")["side"].nunique() == 1).all()
    assert (kept.groupby("group")["side"].nunique() <= 1).all()
    assert all(frame["side"][one] == frame["side"][other] for one, other in pairs if one in kept.index and other in kept.index)
    assert (kept["side"][kept["split"] == "test"] == "test").all()


def test_a_near_duplicate_follows_the_image_before_it_but_a_group_follows_its_own_hash() -> None:
    frame = _frame(list(range(200)))
    sides = assign_sides(CONFIG, frame)
    train, test = int(sides[sides == "train"].index[0]), int(sides[sides == "test"].index[0])
    assert {sides[198], sides[199]} == {"train"}
    found = assign_sides(CONFIG, frame, [(test, 198), (train, 199), (test, 199)])
    assert found[198] == "test"
    assert found[199] is None, "one before it is trained on, another judges"
    assert list(found[:198]) == list(sides[:198])
    groups = [None] * 198 + ["patient"] * 2
    grouped = _frame(list(range(200)), groups)
    of_group = side_of(CONFIG, "", "patient")
    other = test if of_group != "test" else train
    placed = assign_sides(CONFIG, grouped, [(other, 198)])
    assert placed[198] is None
    assert placed[199] == of_group


def test_near_duplicates_across_a_given_split_are_left_to_validate_or_dropped() -> None:
    frame = _frame([1, 2, 3, 4], given=["train", "train", "test", "val"])
    assert list(assign_sides(CONFIG, frame, [(0, 2)])) == ["train", "train", "test", "val"]
    assert list(assign_sides(SplitConfig(on_leak="drop"), frame, [(0, 2)])) == [None, "train", "test", "val"]


def test_near_duplicates_come_from_the_file_of_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("split: {seed: 0}")
    data = _dataset(tmp_path / "data/pets", _frame(list(range(100))))
    pairs, options = tmp_path / "pairs.parquet", ["split", "--data", "data/pets", "--verdict", "data/verdict.json", "--out", "splits.parquet"]
    assert main(options) == 0
    alone = read_splits(Path("splits.parquet"))
    test, train = alone[alone == "test"].index[0], alone[alone == "train"].index[-1]
    assert int(test) < int(train)
    near = pd.DataFrame({"first": [test], "second": [train], "distance": [3], "correlation": [0.99], "how": ["changed"]})
    write_near_duplicates(near, pairs)
    assert main([*options, "--near-duplicates", str(pairs)]) == 0
    assert read_splits(Path("splits.parquet")).to_dict() == {**alone.to_dict(), train: "test"}
    write_near_duplicates(near.assign(second="elsewhere.png"), pairs)
    assert main([*options, "--near-duplicates", str(pairs)]) == 2
    assert "names 'elsewhere.png', which is not in the data now; run validate again" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"missing\.parquet not found; run validate first"):
        split(CONFIG, data, tmp_path / "data/verdict.json", tmp_path / "splits.parquet", tmp_path / "missing.parquet")


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


def test_classes_of_boxes_are_looked_for_and_those_of_masks_are_left_to_augment(tmp_path: Path) -> None:
    given = np.resize(["train", "test"], 40).tolist()
    frame = _frame(list(range(40)), given=given).assign(shard="0", offset=0, length=1)
    boxes = [[[0.0, 0.0, 1.0, 1.0]]] * 40
    for name, columns, refused in (
        ("boxes", {"boxes_xyxy": boxes, "box_labels": [["a"] if side == "train" else ["b"] for side in given]}, True),
        ("both", {"boxes_xyxy": [box * 2 for box in boxes], "box_labels": [["a", "b"]] * 40}, False),
        ("masks", {"mask_shard": "0", "mask_offset": 5, "mask_length": 1, "mask_sha256": "0"}, False),
    ):
        folder = tmp_path / name / "pets"
        folder.mkdir(parents=True)
        write_manifest(frame.assign(**columns), folder / "manifest.parquet")
        write_dataset_info(DatasetInfo(name="pets", version="1", task="detection", classes=["a", "b"]), folder)
        Verdict(passed=True, dataset=dataset_ref(folder), expectations=[], class_counts={}).save(folder.parent / "verdict.json")
        with pytest.raises(DataError, match="no training image of b") if refused else nullcontext():
            split(CONFIG, folder, folder.parent / "verdict.json", folder.parent / "splits.parquet")


@given(rows, links, st.lists(st.frozensets(st.sampled_from("pqr")), min_size=60, max_size=60), st.integers(0, 30))
@settings(deadline=None)
def test_stratified_units_stay_together_and_kept_images_stay(
    old: list[tuple[int, str | None]], links: list[tuple[int, int]], shown: list[frozenset[str]], num_kept: int
) -> None:
    frame = _frame([content for content, _ in old], [group for _, group in old])
    pairs = _pairs(links, len(old))
    before = assign_sides(CONFIG, frame[:num_kept], [pair for pair in pairs if max(pair) < min(num_kept, len(old))])
    kept = pd.Series(before.tolist(), index=frame["image_id"][:num_kept], dtype=object)
    frame["side"] = assign_sides(STRATIFIED, frame, pairs, shown[: len(old)], kept)
    left = frame[frame["side"].notna()]
    assert (left.groupby("sha256")["side"].nunique() == 1).all()
    assert (left.groupby("group")["side"].nunique() <= 1).all()
    assert all(frame["side"][one] == frame["side"][other] for one, other in pairs if one in left.index and other in left.index)
    assert all(after in (side, None) for side, after in zip(before, frame["side"], strict=False) if side is not None)
    if not num_kept:
        assert frame["side"].notna().all(), "what belongs together is placed together: nothing has to be left out"


def test_stratified_classes_have_their_share_on_every_side() -> None:
    names = [f"c{number}" for number in range(12)]
    draws = np.random.default_rng(0)
    shown = [frozenset(draws.choice(names, draws.integers(1, 4), replace=False, p=np.arange(1, 13) / 78)) for _ in range(300)]
    frame = _frame(list(range(300)), [f"g{number // 4}" if number < 100 else None for number in range(300)])
    table = pd.DataFrame([{name: name in names_shown for name in names} for names_shown in shown])

    def worst(sides: pd.Series) -> float:
        """The largest distance of a class's images on a side from its share, in images."""
        counts = table.groupby(sides.to_numpy()).sum()
        wanted = pd.Series({"train": 0.65, "val": 0.15, "test": 0.20}).to_frame() @ table.sum().to_frame().T
        return float((counts - wanted.loc[counts.index]).abs().to_numpy().max())

    stratified = assign_sides(STRATIFIED, frame, shown=shown)
    assert worst(stratified) < 1
    assert worst(assign_sides(CONFIG, frame)) > 5
    assert stratified.value_counts(normalize=True)["train"] == pytest.approx(0.65, abs=0.03)
    assert list(assign_sides(STRATIFIED, frame, shown=shown)) == list(stratified)
    given = _frame(list(range(300)), given=["test"] * 100 + ["train"] * 200)
    carved = assign_sides(STRATIFIED, given, shown=shown)
    assert (carved[:100] == "test").all()
    assert (carved == "val").sum() == pytest.approx(200 * 0.15 / 0.80, abs=5)


def test_new_images_are_placed_around_those_that_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = _dataset(tmp_path / "data/pets", _frame(list(range(60))))
    verdict = tmp_path / "data/verdict.json"
    split(STRATIFIED, data, verdict, tmp_path / "earlier.parquet")
    earlier = read_splits(tmp_path / "earlier.parquet")
    grown = _dataset(tmp_path / "grown/pets", _frame([*range(60), *range(100, 140)]))
    config = STRATIFIED.model_copy(update={"keep": "earlier.parquet"})
    split(config, grown, tmp_path / "grown/verdict.json", tmp_path / "splits.parquet")
    sides = read_splits(tmp_path / "splits.parquet")
    assert sides[:60].to_dict() == earlier.to_dict()
    assert sides.value_counts().to_dict() == {"train": 65, "test": 20, "val": 15}
    with pytest.raises(DataError, match=r"nowhere\.parquet not found; run split first"):
        split(STRATIFIED.model_copy(update={"keep": "nowhere.parquet"}), grown, tmp_path / "grown/verdict.json", tmp_path / "splits.parquet")


def test_a_class_that_misses_a_side_is_told_and_stratified_onto_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = _frame(list(range(100))).assign(shard="0", offset=0, length=1, label=["b"] * 7 + ["a"] * 93)
    folder = tmp_path / "pets"
    folder.mkdir()
    write_manifest(frame, folder / "manifest.parquet")
    write_dataset_info(DatasetInfo(name="pets", version="1", task="classification", classes=["a", "b"]), folder)
    Verdict(passed=True, dataset=dataset_ref(folder), expectations=[], class_counts={}).save(tmp_path / "verdict.json")
    seed = next(seed for seed in range(1000) if {side_of(SplitConfig(seed=seed), sha) for sha in frame["sha256"][:7]} == {"train", "test"})
    split(SplitConfig(seed=seed), folder, tmp_path / "verdict.json", tmp_path / "splits.parquet")
    assert "no val image of b (7 images). Set split.stratify, or add images" in caplog.text
    caplog.clear()
    split(STRATIFIED, folder, tmp_path / "verdict.json", tmp_path / "splits.parquet")
    assert not caplog.text
    assert set(read_splits(tmp_path / "splits.parquet")[:7]) == {"train", "val", "test"}


def test_masks_are_looked_into_to_be_stratified(tmp_path: Path) -> None:
    masks = [np.full((4, 4), number < 6, np.uint8) for number in range(60)]
    images = [ImportedImage(f"{number}.png", mask_png(np.full((4, 4), number, np.uint8)), {}, mask) for number, mask in enumerate(masks)]
    write_dataset(images, DatasetInfo(name="pets", version="1.0.0", task="segmentation", classes=["a", "b"]), tmp_path, "replace")
    folder = tmp_path / "pets"
    Verdict(passed=True, dataset=dataset_ref(folder), expectations=[], class_counts={}).save(tmp_path / "verdict.json")
    split(STRATIFIED, folder, tmp_path / "verdict.json", tmp_path / "splits.parquet")
    sides = read_splits(tmp_path / "splits.parquet")
    assert sides[[f"{number}.png" for number in range(6)]].value_counts().to_dict() == {"train": 4, "val": 1, "test": 1}


def test_shares_have_to_sum_to_one() -> None:
    with pytest.raises(ConfigError, match=r"split\.shares: .*sum to 1, these sum to 1\.1"):
        section_of({"split": {"shares": {"train": 0.7, "val": 0.2, "test": 0.2}}}, SplitConfig)
