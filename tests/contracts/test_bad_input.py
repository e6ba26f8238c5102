"""Input that is odd or wrong, for the tasks with boxes and masks: each works, or gets one clear line and its exit code."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.config import TaskConfig
from components.datasets.manifest import DatasetInfo, dataset_ref, read_manifest
from components.datasets.splits import write_splits
from components.datasets.writing import write_dataset
from components.errors import InputError
from components.protocols import Context, ImportedImage
from components.records import Verdict
from components.steps.augment import AugmentConfig, augment
from components.steps.evaluate import EvaluateConfig, evaluate
from components.steps.split import SplitConfig, split
from components.steps.train import TrainConfig, train

DRAWS = np.random.default_rng(0)


def image(number: int, size_hw: tuple[int, int], boxes: Sequence[Sequence[float]] | None = None) -> ImportedImage:
    """Noise; with `boxes`, of two classes in turn, for detection, else with a mask whose upper half is of the second class."""
    file = io.BytesIO()
    Image.fromarray(DRAWS.integers(0, 256, (*size_hw, 3), dtype=np.uint8)).save(file, format="PNG")
    if boxes is not None:
        row: dict[str, Any] = {"boxes_xyxy": [list(map(float, box)) for box in boxes], "box_labels": [("a", "b")[n % 2] for n in range(len(boxes))]}
        return ImportedImage(f"{number}.png", file.getvalue(), row)
    mask = np.zeros(size_hw, np.uint8)
    mask[: size_hw[0] // 2] = 1
    return ImportedImage(f"{number}.png", file.getvalue(), {}, mask)


def dataset(folder: Path, task: str, images: Sequence[ImportedImage]) -> Path:
    write_dataset(images, DatasetInfo(name="odd", version="1.0.0", task=task, classes=["a", "b"]), folder, "replace")
    return folder / "odd"


def prepared(folder: Path, task: str, data: Path) -> Path:
    """Prepared data whose first images are trained on, the last two apart."""
    names = read_manifest(data)["image_id"]
    write_splits(names, pd.Series([*["train"] * (len(names) - 2), "val", "test"], dtype=object), folder / "splits.parquet")
    config = TaskConfig(name=task, image_size=32, resize="letterbox")
    augment(AugmentConfig(), config, data, folder / "splits.parquet", folder / "training", folder / "preview")
    return folder / "training"


@pytest.mark.parametrize(("labelled", "task"), [("detection", "segmentation"), ("segmentation", "detection"), ("detection", "classification")])
def test_boxes_given_as_masks_and_masks_as_boxes_are_refused_in_one_line(tmp_path: Path, labelled: str, task: str) -> None:
    boxes = [[0, 0, 8, 8], [8, 8, 16, 16]] if labelled == "detection" else None
    data = dataset(tmp_path, labelled, [image(number, (16, 16), boxes) for number in range(4)])
    with pytest.raises(InputError, match=f"^task.name is {task}, but .* is labelled for {labelled}; change params.yaml or the dataset$") as caught:
        prepared(tmp_path, task, data)
    assert caught.value.exit_code == 2


def test_a_set_without_any_box_is_refused_before_it_is_prepared(tmp_path: Path) -> None:
    data = dataset(tmp_path, "detection", [image(number, (16, 16), []) for number in range(40)])
    Verdict(passed=True, dataset=dataset_ref(data), expectations=[], class_counts={}).save(tmp_path / "verdict.json")
    with pytest.raises(InputError, match=r"^no training image of a, b: each class needs one; add images") as caught:
        split(SplitConfig(), data, tmp_path / "verdict.json", tmp_path / "splits.parquet")
    assert caught.value.exit_code == 2


ODD = {
    "segmentation": lambda: [image(0, (1, 1)), image(1, (2, 300)), *(image(number, (16, 16)) for number in range(2, 7)), image(7, (1, 1))],
    "detection": lambda: [
        image(0, (1, 1), [[0, 0, 1, 1]]),
        image(1, (200, 200), [[x, y, x + 3, y + 3] for x, y in DRAWS.integers(0, 190, (4000, 2)).tolist()]),
        image(2, (16, 16), []),
        *(image(number, (16, 16), [[0, 0, 8, 8], [8, 8, 16, 16]]) for number in range(3, 7)),
        image(7, (200, 200), [[x, y, x + 3, y + 3] for x, y in DRAWS.integers(0, 190, (4000, 2)).tolist()]),
    ],
}


@pytest.mark.parametrize(("task", "model", "options"), [("segmentation", "unet", {"width": 4, "depth": 2}), ("detection", "yolo_nano", {})])
def test_tiny_images_and_thousands_of_boxes_are_learnt_from_and_judged(tmp_path: Path, task: str, model: str, options: dict[str, Any]) -> None:
    data = prepared(tmp_path, task, dataset(tmp_path, task, ODD[task]()))
    config = TrainConfig(model=model, model_options=options, epochs=1, batch_size=3, precision="float32")
    record = train(config, TaskConfig(name=task, image_size=32, resize="letterbox"), data, tmp_path, tmp_path / "model", Context())
    assert np.isfinite(record.value)
    judged = evaluate(EvaluateConfig(num_resamples=100), data, tmp_path / "model", tmp_path / "evaluation", Context())
    assert judged.num_images == 1
