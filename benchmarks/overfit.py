"""Every detector learns eight composed scenes by heart: a check of losses, decoding and exports, not of skill.

A run that was stopped goes on with the detectors that are missing; what was measured stays in .darkroom/benchmarks/overfit and is not repeated.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.rows import Row
from components import progress
from components.datasets.annotations import Truth
from components.datasets.composed import CLASSES, scenes
from components.evaluation.metrics.detection import plugin as evaluator_of
from components.exporters import onnx, onnx_int8
from components.records import DatasetRef, ModelSpec, Preprocess
from components.tasks.detection import plugin

LONG = True
FOLDER = Path(".darkroom/benchmarks/overfit")
NUM_IMAGES, TARGET, NUM_CALIBRATION = 8, 0.9, 32


@dataclass(frozen=True)
class Lesson:
    """How a detector is taught.

    Attributes:
        model: Its name.
        zoom: Pixels of the image for one of the scene.
        side: Of the scene.
        steps: Of the optimiser.
        lr: Of AdamW.
        batch: Images in a step, in turn; batch normalisation wants all of them, a network without it learns sooner from few.
        options: The network's.
    """

    model: str
    zoom: int = 1
    side: int = 64
    steps: int = 150
    lr: float = 1e-3
    batch: int = NUM_IMAGES
    options: Mapping[str, Any] = field(default_factory=dict)


#: Of a scene's thousand proposals as many as this are learnt from: a step takes a sixth of the time.
_FEW = {"anchor_scale": 0.5, "samples": 64}
LESSONS = (
    Lesson("yolo_nano", steps=120, lr=0.004),
    Lesson("yolo_nano", zoom=2, steps=70, options={"backbone": "resnet18"}),
    Lesson("fasterrcnn_resnet18_fpn", steps=50, options=_FEW),
    Lesson("ssdlite320_mobilenet_v3_large", zoom=2, steps=100, lr=0.002),
    Lesson("fasterrcnn_mobilenet_v3_large_fpn", zoom=4, steps=90, options=_FEW),
    Lesson("retinanet_resnet18_fpn", options={"anchor_scale": 0.5}),
    Lesson("fcos_resnet18_fpn"),
    Lesson("ssd300_vgg16", side=75, zoom=4, steps=160, lr=1e-4, batch=1),
    Lesson("retinanet_resnet50_fpn", options={"anchor_scale": 0.5}),
    Lesson("fcos_resnet50_fpn"),
    Lesson("fasterrcnn_resnet50_fpn", steps=50, options=_FEW),
)


def spec_of(lesson: Lesson) -> ModelSpec:
    """Return the spec of a lesson's network."""
    side = lesson.side * lesson.zoom
    return ModelSpec(
        task="detection",
        model=lesson.model,
        model_options=dict(lesson.options),
        classes=CLASSES,
        preprocess=Preprocess(size_hw=(side, side), channels=1, resize="stretch"),
        mean=[0.2],
        std=[0.2],
        dataset=DatasetRef(name="scenes", version="1", manifest_digest="0" * 64, num_images=NUM_IMAGES),
        training_digest="1" * 64,
    )


def images_of(lesson: Lesson) -> tuple[np.ndarray, list[Truth]]:
    """Return the images, uint8 (8, side, side, 1), and what is on them."""
    found = list(scenes(NUM_IMAGES, lesson.side))
    pixels = np.stack([np.kron(scene.pixels, np.ones((lesson.zoom, lesson.zoom), np.uint8)) for scene in found])[..., None]
    truths = [
        Truth(scene.boxes_xyxy * lesson.zoom, np.array([int(label) for label in scene.labels]), np.zeros(len(scene.labels), np.bool_))
        for scene in found
    ]
    return pixels, truths


def taught(lesson: Lesson, spec: ModelSpec, pixels: np.ndarray, truths: list[Truth]) -> nn.Module:
    """Return the network after its lesson, in evaluation mode."""
    torch.manual_seed(0)
    model = plugin.build_model(spec).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lesson.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lesson.lr, total_steps=lesson.steps)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    settings = {"label_smoothing": 0.0, "class_weights": "none", "loss": {}}
    options, device = plugin.loss_options(settings, truths, CLASSES), torch.device("cpu")
    turns = itertools.cycle(range(0, NUM_IMAGES, lesson.batch))
    with progress.bar(f"{lesson.model} by heart", lesson.steps, "steps") as bar:
        for first in itertools.islice(turns, lesson.steps):
            some = slice(first, first + lesson.batch)
            optimizer.zero_grad()
            loss = plugin.loss(model, images[some], plugin.collate(truths[some], device), options)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            bar.update(loss=float(loss.detach()))
    return model.eval()


def ap50(predictions: list[Any], truths: list[Truth]) -> float:
    """Return what the one evaluator says."""
    evaluator = evaluator_of(CLASSES)
    return evaluator.score(evaluator.statistics(predictions, truths))["ap50"]


def measure(lesson: Lesson) -> Row:
    """Teach one detector, export it, and judge all of it on the eight images."""
    spec, (pixels, truths) = spec_of(lesson), images_of(lesson)
    began = time.process_time()
    model = taught(lesson, spec, pixels, truths)
    seconds = time.process_time() - began
    with torch.inference_mode():
        scores = {"torch": ap50(plugin.predict(model, torch.from_numpy(pixels).permute(0, 3, 1, 2)), truths)}
    graph = plugin.deploy_graph(model, spec)
    calibration = np.resize(pixels, (NUM_CALIBRATION, *pixels.shape[1:]))
    with tempfile.TemporaryDirectory() as folder:
        for name, exporter in (("ONNX", onnx.plugin), ("INT8", onnx_int8.plugin)):
            path = Path(folder) / f"{exporter.format}.onnx"
            exporter.export(graph, torch.zeros((2, *pixels.shape[1:]), dtype=torch.uint8), calibration, {}, path)
            scores[name] = ap50(plugin.postprocess.predictions(exporter.runner(path, 1)(pixels)), truths)
    options = ", ".join(f"{key}: {value}" for key, value in lesson.options.items())
    return Row(
        f"{lesson.model}{f' ({options})' if options else ''} learns eight images by heart",
        f"AP50 {scores['torch']:.3f}; as ONNX {scores['ONNX']:.3f}, in eight bits {scores['INT8']:.3f}",
        f"{TARGET}",
        scores["torch"] / TARGET,
        min(scores["torch"], scores["ONNX"]) >= TARGET,
        f"{lesson.side * lesson.zoom} px, {lesson.steps} steps, {seconds:.0f} CPU seconds",
    )


def rows() -> Iterator[Row]:
    """Measure what is missing."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for lesson in LESSONS:
        kept = FOLDER / f"{lesson.model}-{hashlib.sha256(repr(lesson).encode()).hexdigest()[:8]}.json"
        if not kept.is_file():
            kept.write_text(json.dumps(asdict(measure(lesson))))
        yield Row(**json.loads(kept.read_text()))
