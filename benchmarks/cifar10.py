"""CIFAR-10 as Darkroom prepares it, for the measures of training: built once under .darkroom/benchmarks/cifar10."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np

from components.config import TaskConfig, read_params, section_of
from components.datasets.importing import import_dataset
from components.datasets.manifest import dataset_ref
from components.datasets.prepared import Prepared, PreparedSplit
from components.errors import DataError
from components.records import ModelSpec, Preprocess, Verdict
from components.steps.augment import AugmentConfig, augment
from components.steps.split import SplitConfig, split

ROOT = Path(__file__).parents[1]
FOLDER = Path(".darkroom/benchmarks/cifar10")
PARAMS = read_params(Path(__file__).with_suffix(".yaml"))
TASK = section_of(PARAMS, TaskConfig)


def jpegs() -> Path:
    """Return the folder of `train/CLASS/*.jpg` and `test/CLASS/*.jpg`, unpacked at the first call.

    Raises:
        DataError: The real images are not there.
    """
    folder = FOLDER / "images"
    if not folder.is_dir():
        archive = ROOT.parent / "shared/data/cifar10.tar.gz"
        if not archive.is_file():
            raise DataError(f"{archive} not found: the measures of training need the real images of CIFAR-10")
        partial = FOLDER / "images.partial"
        with tarfile.open(archive) as tar:
            tar.extractall(partial)
        partial.rename(folder)
    return folder


def prepared() -> Prepared:
    """Return the prepared data of benchmarks/cifar10.yaml, built at the first call."""
    out = FOLDER / "training"
    if not out.is_dir():
        data = FOLDER / "data" / "cifar10"
        if not data.is_dir():
            import_dataset(str(jpegs()), "cifar10", root=data.parent)
        Verdict(passed=True, dataset=dataset_ref(data), expectations=[], class_counts={}).save(FOLDER / "verdict.json")
        split(section_of(PARAMS, SplitConfig), data, FOLDER / "verdict.json", FOLDER / "splits.parquet")
        augment(section_of(PARAMS, AugmentConfig), TASK, data, FOLDER / "splits.parquet", out, FOLDER / "preview")
    return Prepared.open(out)


def spec_of(model: str, options: dict[str, object]) -> ModelSpec:
    """Return the spec of a network on the prepared data."""
    record = prepared().record
    preprocess = Preprocess(size_hw=TASK.size_hw, channels=record.channels, resize=record.resize)
    return ModelSpec(
        task="classification",
        model=model,
        model_options=options,
        classes=record.classes,
        preprocess=preprocess,
        mean=record.mean,
        std=record.std,
        dataset=record.dataset,
        training_digest=record.training_digest,
    )


def first(num: int, name: str = "train") -> PreparedSplit:
    """Return the first images of a side, in memory."""
    side = prepared().split(name)
    return PreparedSplit(np.array(side.images[:num]), side.rows.iloc[:num].reset_index(drop=True), np.arange(num, dtype=np.int64))
