"""An artifact against its eager model, from the file as it was written.

The file is loaded in a fresh runner, and class names, preprocessing and normalisation are those that stand inside it: an
artifact whose normalisation was swapped or whose class names were shuffled gives other labels here, as it would in service.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components import progress
from components.errors import DataError
from components.parity.benchmark import num_cores
from components.parity.reference import Reference
from components.protocols import Evaluator, Postprocess, Runner, plugin
from components.records import ModelSpec, ParityRecord, Refusal
from components.serving.metadata import unpack
from components.serving.restoring import restored, sizes_of

#: Fewer lost images than this are no evidence against an artifact, whatever share of a tiny class or test set they are.
LEAST_LOST_IMAGES = 2
_BATCH = 64


@dataclass(frozen=True)
class Budgets:
    """What an artifact may lose.

    Attributes:
        max_accuracy_drop: Of the primary metric, eager minus artifact.
        max_class_drop: Of any class's first metric.
        max_difference: Of any class's probability on any image; None where rounding is the purpose (quantised forms).
    """

    max_accuracy_drop: float
    max_class_drop: float
    max_difference: float | None


def verify_artifact(path: Path, format: str, reference: Reference, budgets: Budgets) -> tuple[ParityRecord | None, list[Refusal]]:  # noqa: A002
    """Run a written artifact on the reference's images and judge it.

    Args:
        path: The artifact.
        format: Its exporter.
        reference: The eager model's answers on the test images.
        budgets: What it may lose.

    Returns:
        The comparison (None if the artifact does not run or names other classes), and every budget or rule it broke.
    """
    try:
        runner: Runner = plugin("components.exporters", "exporter", format).runner(path, num_cores())
        inside = unpack(runner.metadata, path.name).spec
        refusals = _same_spec(inside, reference.spec)
        if sorted(inside.classes) != sorted(reference.spec.classes) or inside.task != reference.spec.task:
            return None, refusals
        parity, drops, metric = _compare(inside, run(runner, inside, reference), reference)
    except DataError as error:
        return None, [Refusal(budget="runs", found=None, limit=None, text=str(error))]
    return parity, refusals + _judge(parity, drops, budgets, metric)


def run(runner: Runner, spec: ModelSpec, reference: Reference) -> list[Any]:
    """Return one prediction an image of the reference, in batches, through serving's post-processing.

    Raises:
        DataError: The artifact does not take these images.
    """
    postprocess: Postprocess = plugin("components.serving.postprocess", "task", spec.task)
    predictions: list[Any] = []
    images_NHWC, sizes_hw = reference.images, sizes_of(reference.rows, spec.preprocess)
    with progress.bar("parity", len(images_NHWC)) as bar:
        for start in range(0, len(images_NHWC), _BATCH):
            batch = np.ascontiguousarray(images_NHWC[start : start + _BATCH])
            try:
                answers = postprocess.predictions(runner(batch))
            except Exception as error:  # runners raise their runtime's own exceptions
                raise DataError(f"the artifact does not run on images {batch.shape}: {' '.join(str(error).split())[:200]}") from error
            predictions += restored(postprocess, answers, sizes_hw[start : start + _BATCH], spec.preprocess)
            bar.update(len(batch))
    return predictions


def _same_spec(inside: ModelSpec, expected: ModelSpec) -> list[Refusal]:
    found, wanted = inside.model_dump(mode="json"), expected.model_dump(mode="json")
    return [
        Refusal(budget="metadata", found=None, limit=None, text=f"the file says {name} {_short(found[name])}; the model has {_short(wanted[name])}")
        for name in wanted
        if found[name] != wanted[name]
    ]


@dataclass(frozen=True)
class _Drop:
    """What a class lost of its first metric, eager minus artifact, and its test images."""

    name: str
    drop: float
    support: int


def _compare(inside: ModelSpec, predictions: Sequence[Any], reference: Reference) -> tuple[ParityRecord, list[_Drop], str]:
    postprocess: Postprocess = plugin("components.serving.postprocess", "task", inside.task)
    names = reference.spec.classes
    pairs = [postprocess.difference(eager, names, own, inside.classes) for eager, own in zip(reference.predictions, predictions, strict=True)]
    likeness = pd.DataFrame(
        [postprocess.likeness(eager, names, own, inside.classes) for eager, own in zip(reference.predictions, predictions, strict=True)]
    ).mean()
    differences = np.array([difference for difference, _ in pairs])
    metric, eager, eager_table = _scores(reference, names, reference.predictions)
    _, own, own_table = _scores(reference, inside.classes, predictions)
    own_classes = dict(own_table)
    drops = [_Drop(name, eager_class[0] - own_classes[name][0], eager_class[1]) for name, eager_class in eager_table if eager_class[1] > 0]
    worst = max(drops, key=lambda item: item.drop)
    parity = ParityRecord(
        num_images=len(pairs),
        max_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        agreement=sum(same for _, same in pairs) / len(pairs),
        likeness={str(name): float(value) for name, value in likeness.items()},
        eager=eager,
        artifact=own,
        accuracy_drop=eager[metric] - own[metric],
        worst_class=worst.name,
        worst_class_drop=worst.drop,
    )
    return parity, drops, metric


def _scores(
    reference: Reference, classes: Sequence[str], predictions: Sequence[Any]
) -> tuple[str, dict[str, float], list[tuple[str, tuple[float, int]]]]:
    """Return the primary metric's key, the metrics, and by class name its first metric and its images."""
    evaluator: Evaluator = plugin("components.evaluation.metrics", "task", reference.spec.task)(classes)
    statistics = evaluator.statistics(predictions, evaluator.targets(reference.rows))
    table = evaluator.per_class(statistics)
    first = next(str(name) for name in table.columns if name not in ("class", "support"))
    by_class = [
        (str(name), (float(value), int(support))) for name, value, support in zip(table["class"], table[first], table["support"], strict=True)
    ]
    return evaluator.metric, evaluator.score(statistics), by_class


def _judge(parity: ParityRecord, drops: Sequence[_Drop], budgets: Budgets, metric: str) -> list[Refusal]:
    refusals = []
    limit = budgets.max_difference
    if limit is not None and not parity.max_difference <= limit:  # also when it is not a number
        text = f"a score differs by {parity.max_difference:.2g} from the model's, more than {limit:.2g}"
        refusals.append(Refusal(budget="max_difference", found=parity.max_difference, limit=limit, text=text))
    drop, limit = parity.accuracy_drop, budgets.max_accuracy_drop
    if drop > limit and _evident(drop, parity.num_images):
        text = f"{metric} falls by {drop:.2%} on {parity.num_images} test images, more than {limit:.2%}"
        refusals.append(Refusal(budget="max_accuracy_drop", found=drop, limit=limit, text=text))
    limit = budgets.max_class_drop
    evident = [item for item in drops if item.drop > limit and _evident(item.drop, item.support)]
    if evident:
        worst = max(evident, key=lambda item: item.drop)
        text = f"class '{worst.name}' falls by {worst.drop:.1%} on its {worst.support} test images, more than {limit:.1%}"
        refusals.append(Refusal(budget="max_class_drop", found=worst.drop, limit=limit, text=text))
    return refusals


def _evident(drop: float, num_images: float) -> bool:
    return drop * num_images > LEAST_LOST_IMAGES - 0.5


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:119] + "…"
