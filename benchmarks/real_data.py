"""The real labelled sets beside the project, from their archive to an evaluated model by the steps themselves, for the measures of tasks."""

from __future__ import annotations

import json
import shutil
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from components.config import TaskConfig, read_params, section_of
from components.datasets.checks.check import check
from components.datasets.checks.config import ValidateConfig
from components.datasets.importing import import_dataset
from components.datasets.manifest import read_manifest
from components.datasets.splits import write_splits
from components.errors import DataError
from components.protocols import Context
from components.records import EvaluationRecord
from components.steps.augment import AugmentConfig, augment
from components.steps.evaluate import EvaluateConfig, evaluate
from components.steps.train import TrainConfig, train

ROOT = Path(__file__).parents[1]
FOLDER = Path(".darkroom/benchmarks")


@dataclass(frozen=True)
class Learnt:
    """What came of a set.

    Attributes:
        model: The network's name.
        image_size: Of what it saw, in pixels.
        record: The evaluation on its test images.
        per_class: Its table of classes.
        failures: What the check found, one row a finding.
        cpu_seconds: Of the training.
        seconds: Of the training.
    """

    model: str
    image_size: int | list[int]
    record: EvaluationRecord
    per_class: pd.DataFrame
    failures: pd.DataFrame
    cpu_seconds: float
    seconds: float


def learnt(name: str, params: Path, sides: Callable[[pd.DataFrame], pd.Series[Any]], format: str, only: tuple[str, ...] = ("",)) -> Learnt:  # noqa: A002
    """Import ../shared/data/NAME.tar, check it, train on it from random weights and evaluate; what was made stays under .darkroom/benchmarks/.

    Args:
        name: Of the archive and the dataset.
        params: A params.yaml; what is made stands in a folder of its name.
        sides: Gives the split of each row of the manifest.
        format: The archive's layout.
        only: What the names of the files begin with that are imported.

    Raises:
        DataError: The real images are not there.
    """
    archive = ROOT.parent / "shared/data" / f"{name}.tar"
    if not archive.is_file():
        raise DataError(f"{archive} not found: this measure needs the real images")
    folder, sections = FOLDER / params.stem, read_params(params)
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "source", [member for member in tar if member.name.startswith(only)])
    task = section_of(sections, TaskConfig)
    import_dataset(str(folder / "source"), name, folder / "data", format=format, task=task.name)
    data, model = folder / "data" / name, folder / "model"
    check(section_of(sections, ValidateConfig), data, folder / "check")
    manifest = read_manifest(data)
    write_splits(manifest["image_id"], sides(manifest), folder / "splits.parquet")
    augment(section_of(sections, AugmentConfig), task, data, folder / "splits.parquet", folder / "training", folder / "preview")
    (folder / "start").mkdir()
    (folder / "start" / "start.json").write_text(json.dumps({"source": None}))
    cpu, wall = time.process_time(), time.monotonic()
    config = section_of(sections, TrainConfig)
    train(config, task, folder / "training", folder / "start", model, Context())
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    record = evaluate(section_of(sections, EvaluateConfig), folder / "training", model, folder / "evaluation", Context())
    tables = [pd.read_csv(path) for path in (folder / "evaluation/per_class.csv", folder / "check/failures.csv")]
    return Learnt(config.model, task.image_size, record, tables[0], tables[1], cpu, wall)
