"""COCO's panoptic masks: a U-Net learns 16 photographs by heart, from import to evaluation by the steps; a check of correctness, not of skill."""

from __future__ import annotations

import json
import shutil
import tarfile
import time
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from benchmarks.real_data import FOLDER, ROOT
from benchmarks.rows import Row
from components.config import TaskConfig, read_params, section_of
from components.datasets.dataset import Dataset
from components.datasets.importing import import_dataset
from components.datasets.manifest import DatasetInfo, read_manifest
from components.datasets.masks import IGNORE, Mask
from components.datasets.prepared import ORDER
from components.datasets.splits import write_splits
from components.datasets.writing import write_dataset
from components.errors import DataError
from components.protocols import Context, ImportedImage
from components.steps.augment import AugmentConfig, augment
from components.steps.evaluate import EvaluateConfig, evaluate
from components.steps.train import TrainConfig, train

LONG = True
TARGET, NUM_IMAGES = 0.9, 16
#: How often an epoch shows each image: judging them costs as much as learning from them a few times.
_REPEATS = 36
_FILES = ("images/train2017", "panoptic_segmentation/annotations/panoptic_train2017")


def rows() -> list[Row]:
    """Train on 16 images, judge on the same."""
    archive, folder = ROOT.parent / "shared/data/coco128.tar", FOLDER / "overfit_panoptic"
    if not archive.is_file():
        raise DataError(f"{archive} not found: this measure needs the real images")
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "source", [member for member in tar if member.name.startswith(_FILES)])
    sections = read_params(Path(__file__).with_suffix(".yaml"))
    task = section_of(sections, TaskConfig)
    import_dataset(str(folder / "source"), "coco", folder, format="coco", task=task.name)
    _keep_some(folder / "coco", folder)
    prepared = _prepared(task, folder)
    (folder / "start").mkdir()
    (folder / "start/start.json").write_text(json.dumps({"source": None}))
    began = time.monotonic()
    train(section_of(sections, TrainConfig), task, prepared, folder / "start", folder / "model", Context())
    seconds = time.monotonic() - began
    record = evaluate(section_of(sections, EvaluateConfig), prepared, folder / "model", folder / "evaluation", Context())
    miou, table = record.metrics["miou"].value, pd.read_csv(folder / "evaluation/per_class.csv")
    return [
        Row(
            f"coco128 panoptic: mIoU of a U-Net on {NUM_IMAGES} images that it learnt by heart",
            f"{miou:.3f}",
            f"{TARGET:.2f}",
            miou / TARGET,
            miou >= TARGET,
            f"those whose smallest class covers most; {task.image_size} px, judged in the originals' pixels; {len(table)} classes; "
            f"{seconds:.0f} s of training",
        )
    ]


def _keep_some(coco: Path, folder: Path) -> None:
    """Write the dataset `some`: of the images whose smallest class covers most of the picture, and of the classes that they show.

    What is a few pixels in the original is less than one where the network looks: it would measure the resolution.
    """
    with Dataset.of_folder(coco) as whole:
        masks = [whole.mask(number) for number in range(len(whole.manifest))]
        clearest = sorted(range(len(masks)), key=lambda number: _least_share(masks[number]), reverse=True)[:NUM_IMAGES]
        learnt = {number: cast(Mask, masks[number]) for number in sorted(clearest)}
        shown = np.setdiff1d(np.unique(np.concatenate([mask.ravel() for mask in learnt.values()])), [IGNORE])
        places = np.full(256, IGNORE, np.uint8)
        places[shown] = np.arange(len(shown), dtype=np.uint8)
        names = whole.manifest["image_id"]
        images = [ImportedImage(names[number], whole.image(number), {}, places[mask]) for number, mask in learnt.items()]
        classes = [whole.info.classes[index] for index in shown]
    write_dataset(images, DatasetInfo(name="some", version="1.0.0", task="segmentation", classes=classes), folder, "replace")


def _least_share(mask: Mask | None) -> float:
    """Return the share of the picture that the smallest class covers, 0 where nothing is judged."""
    if mask is None:
        return 0.0
    _, counts = np.unique(mask[mask != IGNORE], return_counts=True)
    return float(counts.min() / mask.size) if len(counts) else 0.0


def _prepared(task: TaskConfig, folder: Path) -> Path:
    """Return prepared data whose validation and test images are the training images, of which an epoch shows each several times."""
    images, out = read_manifest(folder / "some")["image_id"], folder / "training"
    write_splits(images, pd.Series(["train"] * NUM_IMAGES, dtype=object), folder / "splits.parquet")
    augment(AugmentConfig(), task, folder / "some", folder / "splits.parquet", out, folder / "preview")
    for side in ("val", "test"):
        shutil.rmtree(out / side)
        shutil.copytree(out / "train", out / side)
    np.save(out / "train" / ORDER, np.tile(np.arange(NUM_IMAGES, dtype=np.int64), _REPEATS))
    return out
