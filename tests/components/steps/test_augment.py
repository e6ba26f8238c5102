from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.config import TaskConfig
from components.datasets.composed import BACKGROUND, CLASSES, detection_images, scenes, segmentation_images
from components.datasets.manifest import DatasetInfo, metadata_columns, read_manifest
from components.datasets.policy import Policy
from components.datasets.prepared import Prepared
from components.datasets.shards import ShardReader
from components.datasets.splits import write_splits
from components.datasets.writing import write_dataset
from components.errors import ConfigError, DataError
from components.protocols import ImportedImage, plugin
from components.records import Preprocess
from components.serving.image import prepare
from components.steps.augment import AugmentConfig, augment, balanced_order

INFO = DatasetInfo(name="pets", version="1.0.0", task="classification", classes=["cat", "dog"])
TASK = TaskConfig(name="classification", image_size=8, finetune_image_size=[12, 16], channels=3, resize="crop")
SIDES = [*["train"] * 12, None, *["val"] * 3, *["test"] * 4]


def _image(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (10, 14, 3)).astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


IMAGES = [ImportedImage(f"{index:02}.jpg", _image(index), {"label": "dog" if index % 4 else "cat", "site": f"s{index % 2}"}) for index in range(20)]


def _data(root: Path, images: list[ImportedImage] = IMAGES, info: DatasetInfo = INFO) -> tuple[Path, Path]:
    write_dataset(images, info, root, "replace", keep_damaged=True)
    write_splits(read_manifest(root / "pets")["image_id"], pd.Series(SIDES, dtype=object), root / "splits.parquet")
    return root / "pets", root / "splits.parquet"


def _augment(root: Path, config: AugmentConfig = AugmentConfig(), task: TaskConfig = TASK) -> Prepared:  # noqa: B008 - it is frozen
    data, splits = _data(root)
    augment(config, task, data, splits, root / "training", root / "preview")
    return Prepared.open(root / "training")


def test_training_reads_each_image_as_serving_prepares_it(tmp_path: Path) -> None:
    prepared = _augment(tmp_path)
    frame = read_manifest(tmp_path / "pets")
    assert prepared.record.sizes == [(8, 8), (12, 16)]
    assert prepared.record.counts == {"train": 12, "val": 3, "test": 4}
    with ShardReader(tmp_path / "pets") as shards:
        for side in ("train", "val", "test"):
            for size in ((8, 8), (12, 16)):
                part = prepared.split(side, size)
                assert part.rows["image_id"].tolist() == frame["image_id"][[given == side for given in SIDES]].tolist()
                assert list(part.rows.columns) == ["image_id", "sha256", "height", "width", "label", "site"]
                for pixels, image_id in zip(part.images, part.rows["image_id"], strict=True):
                    row = frame.set_index("image_id").loc[image_id]
                    content = shards.read(row["shard"], row["offset"], row["length"])
                    np.testing.assert_array_equal(pixels, prepare(content, Preprocess(size_hw=size, channels=3, resize="crop")).pixels)


def test_groups_come_along_where_there_are_any(tmp_path: Path) -> None:
    grouped = [ImportedImage(image.image_id, image.content, {**image.row, "group": f"p{index % 3}"}) for index, image in enumerate(IMAGES)]
    data, splits = _data(tmp_path, grouped)
    augment(AugmentConfig(), TASK, data, splits, tmp_path / "training", tmp_path / "preview")
    rows = Prepared.open(tmp_path / "training").split("test").rows
    assert rows["group"].tolist() == ["p1", "p2", "p0", "p1"]
    assert metadata_columns(rows) == ["site"]


def test_mean_and_spread_are_those_of_the_training_images(tmp_path: Path) -> None:
    prepared = _augment(tmp_path)
    values = prepared.split("train").images / 255
    assert prepared.record.mean == pytest.approx(values.mean(axis=(0, 1, 2)), abs=1e-6)
    assert prepared.record.std == pytest.approx(values.std(axis=(0, 1, 2)), abs=1e-6)


def test_grayscale_is_stored_with_one_channel_and_one_size_once(tmp_path: Path) -> None:
    prepared = _augment(tmp_path, task=TaskConfig(name="classification", image_size=8, finetune_image_size=8, channels=1))
    assert prepared.record.sizes == [(8, 8)]
    assert prepared.split("train").images.shape == (12, 8, 8, 1)
    assert len(prepared.record.mean) == 1


@pytest.mark.parametrize(("balance", "cats", "dogs"), [("none", 4, 36), ("sqrt", 12, 36), ("full", 36, 36)])
def test_rare_classes_are_shown_as_often_as_asked(balance: str, cats: int, dogs: int) -> None:
    labels = pd.Series(np.repeat(["cat", "dog"], [4, 36]))
    order = balanced_order([frozenset([label]) for label in labels], balance)
    assert labels[order].value_counts().to_dict() == {"cat": cats, "dog": dogs}
    assert set(order) == set(range(40))
    shown = np.bincount(order[order < 4])
    assert shown.max() - shown.min() <= 1


def test_equal_inputs_give_equal_bytes_and_a_policy_changes_only_the_policy(tmp_path: Path) -> None:
    _augment(tmp_path / "one")
    _augment(tmp_path / "two")
    prepared = _augment(tmp_path / "three", AugmentConfig(policy=Policy(horizontal_flip=0.5)))
    assert Policy.model_validate(prepared.policy) == Policy(horizontal_flip=0.5)
    paths = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one/training").rglob("*.*")]
    assert len(paths) == 12
    for path in paths:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
        assert ((tmp_path / "one" / path).read_bytes() == (tmp_path / "three" / path).read_bytes()) == (path.name != "policy.json")


@pytest.mark.parametrize("policy", [Policy(rotate=20.0, brightness=0.4), Policy(horizontal_flip=1.0, mixup=0.4), Policy(auto="trivial")])
def test_the_preview_shows_originals_beside_augmented_versions(policy: Policy, tmp_path: Path) -> None:
    _augment(tmp_path, AugmentConfig(policy=policy))
    with Image.open(tmp_path / "preview/policy.png") as image:
        sheet = np.asarray(image)
    tiles = [sheet[30 : 30 + 128, 8 + 136 * column : 8 + 136 * column + 128] for column in range(6)]
    assert all((tile != tiles[0]).any() for tile in tiles[1:])


@pytest.mark.parametrize("content", [pytest.param(_image(1)[:150], id="truncated"), pytest.param(b"", id="empty")])
def test_a_damaged_image_is_named_and_nothing_is_changed(content: bytes, tmp_path: Path) -> None:
    _augment(tmp_path)
    before = (tmp_path / "training/prepared.json").read_bytes()
    broken = [ImportedImage(image.image_id, content if index == 3 else image.content, image.row) for index, image in enumerate(IMAGES)]
    data, splits = _data(tmp_path, broken)
    with pytest.raises(DataError, match=r"^03\.jpg: "):
        augment(AugmentConfig(), TASK, data, splits, tmp_path / "training", tmp_path / "preview")
    assert (tmp_path / "training/prepared.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pets", "preview", "splits.parquet", "training"]


def test_splits_of_other_data_and_another_task_are_refused(tmp_path: Path) -> None:
    data, splits = _data(tmp_path)
    write_splits(pd.Series(["x"]), pd.Series(["train"]), splits)
    with pytest.raises(DataError, match="run split again"):
        augment(AugmentConfig(), TASK, data, splits, tmp_path / "training", tmp_path / "preview")
    data, splits = _data(tmp_path, info=INFO.model_copy(update={"task": "detection"}))
    with pytest.raises(ConfigError, match=r"task\.name is classification, but .*pets is labelled for detection"):
        augment(AugmentConfig(), TASK, data, splits, tmp_path / "training", tmp_path / "preview")


def test_an_image_of_several_classes_is_shown_as_often_as_its_rarest_asks() -> None:
    shown = [frozenset({"cat"})] * 36 + [frozenset({"cat", "owl"})] * 4 + [frozenset[str]()] * 5
    order = balanced_order(shown, "full")
    assert np.bincount(order).tolist() == [1] * 36 + [10] * 4 + [1] * 5
    assert balanced_order(shown, "none").tolist() == list(range(45))


def _scenes(images: Iterable[ImportedImage], task: str, classes: list[str], root: Path) -> tuple[Path, Path, TaskConfig]:
    info = DatasetInfo(name="shapes", version="1.0.0", task=task, classes=classes)
    data, splits = write_dataset(list(images), info, root, "replace"), root / "splits.parquet"
    write_splits(read_manifest(root / "shapes")["image_id"], pd.Series([*["train"] * 40, *["val"] * 5, *["test"] * 5], dtype=object), splits)
    assert data is not None
    return root / "shapes", splits, TaskConfig(name=task, image_size=32, channels=1)


def test_boxes_and_masks_come_along_with_the_size_of_the_original(tmp_path: Path) -> None:
    for task, images, classes in (("detection", detection_images, CLASSES), ("segmentation", segmentation_images, [BACKGROUND, *CLASSES])):
        data, splits, config = _scenes(images(50), task, classes, tmp_path / task)
        augment(
            AugmentConfig(policy=Policy(rotate=10.0), balance="sqrt"), config, data, splits, tmp_path / task / "training", tmp_path / task / "seen"
        )
        rows = Prepared.open(tmp_path / task / "training").split("test").rows
        targets = plugin("components.evaluation.metrics", "task", task)(classes).targets(rows)
        for number, scene in enumerate(list(scenes(50))[45:]):
            assert (rows["height"][number], rows["width"][number]) == (64, 64)
            if task == "detection":
                np.testing.assert_array_equal(targets[number].boxes_xyxy, scene.boxes_xyxy)
            else:
                np.testing.assert_array_equal(targets[number], scene.mask)
        assert metadata_columns(rows) == ["clutter"]


def test_a_class_that_no_training_mask_shows_is_refused(tmp_path: Path) -> None:
    data, splits, config = _scenes(segmentation_images(50), "segmentation", [BACKGROUND, *CLASSES, "zebra"], tmp_path)
    with pytest.raises(DataError, match="no training image of zebra: each class needs one"):
        augment(AugmentConfig(), config, data, splits, tmp_path / "training", tmp_path / "preview")


def test_a_policy_that_boxes_cannot_follow_is_refused_here_not_in_training(tmp_path: Path) -> None:
    data, splits, config = _scenes(detection_images(50), "detection", CLASSES, tmp_path)
    with pytest.raises(ConfigError, match=r"augment\.policy\.auto: found trivial; boxes and masks cannot follow it"):
        augment(AugmentConfig(policy=Policy(auto="trivial")), config, data, splits, tmp_path / "training", tmp_path / "preview")
    assert not (tmp_path / "training").exists()
