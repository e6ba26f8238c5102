"""A training step of our YOLO against `plain_detection_loop.py` on the same images in the same settings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks import plain_detection_loop
from benchmarks.pairs import Pairs, interleaved
from benchmarks.rows import Row
from benchmarks.throughput import EPOCHS, Rate, apart
from components.datasets.composed import CLASSES, scenes
from components.datasets.policy import Policy
from components.datasets.prepared import PreparedSplit
from components.errors import DarkroomError
from components.protocols import Context, plugin
from components.records import DatasetRef, ModelSpec, Preprocess
from components.training.loop import fit
from components.training.options import FitOptions
from components.training.problem import Problem

LR, NUM_PAIRS, TOLERANCE = 1e-3, 5, 1e-4
MODEL = "yolo_nano"


def crowded(num_images: int, side: int) -> PreparedSplit:
    """Return composed scenes, four to an image: some ten digits on each, in colour as photographs are."""
    quarters = list(scenes(4 * num_images, side // 2))
    images = np.empty((num_images, side, side, 3), np.uint8)
    boxes: list[list[list[float]]] = [[] for _ in range(num_images)]
    labels: list[list[str]] = [[] for _ in range(num_images)]
    for number, scene in enumerate(quarters):
        image, row, column = number // 4, number % 4 // 2 * (side // 2), number % 2 * (side // 2)
        images[image, row : row + side // 2, column : column + side // 2] = scene.pixels[..., None]
        boxes[image] += (scene.boxes_xyxy + np.array([column, row, column, row])).tolist()
        labels[image] += scene.labels
    names = [f"{number}.png" for number in range(num_images)]
    rows = pd.DataFrame({"image_id": names, "height": side, "width": side, "boxes_xyxy": boxes, "box_labels": labels})
    return PreparedSplit(images, rows, np.arange(num_images))


def spec_of(side: int) -> ModelSpec:
    """Return the spec of the network on such images."""
    return ModelSpec(
        task="detection",
        model=MODEL,
        model_options={},
        classes=CLASSES,
        preprocess=Preprocess(size_hw=(side, side), channels=3, resize="stretch"),
        mean=[0.5] * 3,
        std=[0.25] * 3,
        dataset=DatasetRef(name="scenes", version="1", manifest_digest="0" * 64, num_images=0),
        training_digest="1" * 64,
    )


def fresh(spec: ModelSpec) -> nn.Module:
    """Return the network with the same random weights each time."""
    torch.manual_seed(0)
    network: nn.Module = plugin("components.tasks", "task", spec.task).build_model(spec)
    return network


def measure(side: int, batch_size: int, num_batches: int, settings: Mapping[str, str]) -> tuple[Pairs, float]:
    """Return the rates of our loop and of the plain one, measured in turn, and how far apart their losses are on the first batch.

    Args:
        side: Of the images in pixels.
        batch_size: Images in a batch.
        num_batches: In an epoch.
        settings: Of our loop; the plain one has float32 alone.
    """
    spec = spec_of(side)
    task = plugin("components.tasks", "task", spec.task)
    evaluator = plugin("components.evaluation.metrics", "task", spec.task)(spec.classes)
    train, val = crowded(batch_size * num_batches, side), crowded(4, side)
    targets = evaluator.targets(train.rows)
    objects = [(torch.from_numpy(target.boxes_xyxy).float(), torch.from_numpy(target.labels)) for target in targets]
    alike = {"epochs": EPOCHS, "batch_size": batch_size, "lr": LR, "optimizer": "adamw", "schedule": "constant", "device": "cpu"}
    options = FitOptions.model_validate(alike | dict(settings) | {"num_threads": torch.get_num_threads()})

    def ours() -> float:
        rate = Rate()
        fit(Problem(fresh(spec), spec, task, evaluator, train, val), options, Policy(), context=Context(tracker=rate))
        return rate.images_per_second

    def theirs() -> float:
        return plain_detection_loop.train(fresh(spec), train.images, objects, EPOCHS, batch_size, LR)

    @torch.no_grad()
    def difference() -> float:
        network = fresh(spec).train()
        images = torch.from_numpy(train.images[:batch_size]).permute(0, 3, 1, 2).float() / 255
        wanted = task.collate(targets[:batch_size], torch.device("cpu"))
        own = float(task.loss(network, images, wanted, task.loss_options(options.model_dump(), targets, spec.classes)))
        return abs(own - float(plain_detection_loop.loss(network(images), objects[:batch_size], side))) / abs(own)

    description = f"{MODEL} at {side} px, {settings.get('precision', 'auto')}"
    return interleaved(lambda: apart(ours), lambda: apart(theirs), NUM_PAIRS, description), apart(difference)


def rows() -> list[Row]:
    """Measure.

    Raises:
        DarkroomError: The two do not learn the same.
    """
    plain = {"precision": "float32", "channels_last": "off", "compile": "off"}
    found = []
    for side, batch_size, num_batches, settings in ((256, 8, 5, plain), (128, 16, 6, plain), (256, 8, 5, {})):
        pairs, difference = measure(side, batch_size, num_batches, settings)
        if difference > TOLERANCE:
            raise DarkroomError(f"the plain loop's loss differs from ours by {difference:.1e} of it: the two do not learn the same")
        measured = f"{pairs.ours:,.1f} against {pairs.theirs:,.1f} images/s: {pairs.ratio:.2f}× ({pairs.low:.2f} to {pairs.high:.2f})"
        alike = "same images, batch, optimiser and threads" if settings else "auto settings: bf16 and channels-last where the processor has bf16"
        note = f"{alike}; batches of {batch_size}; losses {difference:.0e} apart; interleaved pairs"
        name = f"training step of {MODEL} at {side} px{' in float32' if settings else ''}, against the same network in a plain loop"
        found.append(Row(name, measured, "1.0×", pairs.ratio, pairs.ratio >= 1.0, note))
    return found
