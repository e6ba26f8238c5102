"""evaluate: how good is the tuned model on the test images, where is it wrong, and how sure is that."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from components.config import Section
from components.datasets.manifest import given_annotations, metadata_columns
from components.datasets.prepared import Prepared
from components.errors import DataError
from components.evaluation.intervals import bootstrap
from components.evaluation.pictures import draw_images
from components.evaluation.slices import slice_table
from components.files import replacing, spreadsheet_safe
from components.protocols import Context, Evaluator, Figures, Task, plugin
from components.records import EvaluationRecord, Interval
from components.serving.restoring import restored, sizes_of

log = logging.getLogger(__name__)


class EvaluateConfig(Section):
    """How much is measured and shown."""

    section: ClassVar[str] = "evaluate"
    num_mistakes: int = Field(default=24, ge=0, le=200, description="pictures of the worst mistakes")
    num_resamples: int = Field(default=1000, ge=100, le=100_000, description="of the bootstrap")
    seed: int = Field(default=0, ge=0, description="of the bootstrap")


def evaluate(config: EvaluateConfig, data: Path, model: Path, out: Path, context: Context) -> EvaluationRecord:
    """Measure a model on the test images.

    Args:
        config: The section `evaluate`.
        data: The prepared data.
        model: The folder of a trained model.
        out: The folder to write: metrics.json, predictions.parquet, mistakes.csv, per_class.csv, slices.csv, confusion.csv, pictures/.
        context: Hears the metrics.

    Raises:
        DataError: There are no test images, or the model does not fit the data.
    """
    from components.training.inference import predict
    from components.training.model_files import load_model

    network, spec = load_model(model)
    prepared = Prepared.open(data)
    if spec.classes != prepared.record.classes:
        raise DataError(
            f"{model} knows the classes {', '.join(spec.classes)}; the data has {', '.join(prepared.record.classes)}. Train on this data first"
        )
    test = prepared.split("test", spec.preprocess.size_hw)
    if not len(test.images):
        raise DataError(f"the test split of {data} is empty; set split.shares so that test gets images, or add images")
    evaluator: Evaluator = plugin("components.evaluation.metrics", "task", spec.task)(spec.classes)
    task: Task = plugin("components.tasks", "task", spec.task)
    seen = predict(task, network, test.images, description="evaluate")
    sizes_hw = sizes_of(test.rows, spec.preprocess)
    predictions = restored(task.postprocess, seen, sizes_hw, spec.preprocess)
    targets = evaluator.targets(test.rows)
    statistics = evaluator.statistics(predictions, targets)
    groups = test.rows["group"].tolist() if "group" in test.rows else None
    intervals = bootstrap(evaluator, statistics, config.num_resamples, config.seed, groups)
    if evaluator.metric not in intervals:
        what = f"the test images show nothing that is to be found, so there is no {evaluator.metric}"
        raise DataError(f"{data}: {what}. Label some, or raise split.shares.test")
    constant = evaluator.baseline(evaluator.targets(prepared.split("train", spec.preprocess.size_hw).rows))
    baseline = evaluator.score(evaluator.statistics([constant] * len(targets), targets))[evaluator.metric]
    slices = slice_table(evaluator, statistics, test.rows, metadata_columns(test.rows), config.num_resamples, config.seed)
    others = {name: value for name, value in evaluator.score(statistics).items() if name not in intervals and not np.isnan(value)}
    record = EvaluationRecord(metric=evaluator.metric, num_images=len(test.images), metrics=intervals, others=others, baseline=baseline)
    with replacing(out) as folder:
        (folder / "pictures").mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(flat(record), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        predictions_table(test.rows, predictions, spec.task, spec.classes).to_parquet(folder / "predictions.parquet", compression="zstd", index=False)
        write_csv(evaluator.per_class(statistics), folder / "per_class.csv")
        write_csv(slices, folder / "slices.csv")
        write_csv(evaluator.confusion(statistics), folder / "confusion.csv")
        figures: Figures = plugin("components.evaluation.figures", "task", spec.task)
        figures(evaluator, statistics, folder / "pictures")
        mistakes = evaluator.mistakes(statistics)
        write_csv(mistakes_table(test.rows, mistakes), folder / "mistakes.csv")
        worst = mistakes[: config.num_mistakes]
        placed = task.place([targets[image] for image, _ in worst], [sizes_hw[image] for image, _ in worst], spec.preprocess)
        pictures = [
            figures.judged(np.asarray(test.images[image]), target, seen[image], spec.classes)
            for (image, _), target in zip(worst, placed, strict=True)
        ]
        sheet = folder / "pictures" / "mistakes.png"
        draw_images(pictures, [caption for _, caption in worst], sheet, empty="no mistakes", title=figures.legend)
    context.tracker.log_metrics({f"test/{metric}": interval.value for metric, interval in intervals.items()}, step=0)
    _tell(record)
    return record


def flat(record: EvaluationRecord) -> dict[str, float]:
    """Return the metrics as DVC shows them: METRIC, METRIC_low, METRIC_high, the baseline and the number of images."""
    numbers: dict[str, float] = {"num_images": record.num_images, f"baseline_{record.metric}": round(record.baseline, 6)}
    numbers |= {metric: round(value, 6) for metric, value in record.others.items()}
    for metric, interval in record.metrics.items():
        numbers |= {metric: round(interval.value, 6), f"{metric}_low": round(interval.low, 6), f"{metric}_high": round(interval.high, 6)}
    return numbers


def predictions_table(rows: pd.DataFrame, predictions: list[Any], task: str, classes: list[str]) -> pd.DataFrame:
    """Return one row an image: image_id, its annotations, and the prediction as people know it; where names meet, `predicted_NAME`."""
    postprocess = plugin("components.serving.postprocess", "task", task)
    annotated = rows[["image_id", *given_annotations(rows)]].reset_index(drop=True)
    columns = [postprocess.columns(prediction, classes) for prediction in predictions]
    in_class_order = [{name: list(value.values()) if isinstance(value, dict) else value for name, value in row.items()} for row in columns]
    predicted = pd.DataFrame(in_class_order)
    predicted = predicted.rename(columns={name: f"predicted_{name}" for name in predicted.columns if name in annotated})
    return pd.concat([annotated, predicted], axis=1)


def mistakes_table(rows: pd.DataFrame, mistakes: Sequence[tuple[int, str]]) -> pd.DataFrame:
    """Return the images that went wrong, the worst first: number (of the test image), image_id, mistake."""
    names = rows["image_id"].tolist()
    found = [(image, spreadsheet_safe(str(names[image])), spreadsheet_safe(caption)) for image, caption in mistakes]
    return pd.DataFrame(found, columns=["number", "image_id", "mistake"])


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table for people; numbers to six digits."""
    table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def _tell(record: EvaluationRecord) -> None:
    found: Interval = record.metrics[record.metric]
    log.info(
        "%s %.2f%% (95%%: %.2f to %.2f) on %d test images; ignoring the image: %.2f%%",
        *(record.metric, 100 * found.value, 100 * found.low, 100 * found.high, record.num_images, 100 * record.baseline),
    )
