"""Every task says what its answers are, in a way that heat maps can be made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from components.explanation.gradcam import gradcam
from components.explanation.subject import SEAM, Subject
from components.networks.detection.models import FAMILIES
from components.networks.segmentation.models import NAMES as SEGMENTATION_NAMES
from components.protocols import plugin, plugin_names
from components.records import DatasetRef, ModelSpec, Preprocess
from components.serving.detections import Detections

SIDE = 64
CLASSES = ["background", "cat", "dog"]
MASK = np.zeros((SIDE, SIDE), np.uint8)
MASK[8:24, 8:24], MASK[40:60, 30:60] = 1, 2
BOXES = np.array([[8, 8, 24, 24], [30, 40, 60, 60], [0, 0, 64, 64]], np.float32)
#: By task: a prediction, and the labels of its answers.
PREDICTIONS: dict[str, tuple[Any, list[int]]] = {
    "classification": (np.array([0.1, 0.2, 0.7], np.float32), [2]),
    "detection": (Detections(BOXES, np.array([1, 2, 0]), np.array([0.9, 0.5, 0.1], np.float32)), [1, 2]),
    "segmentation": (MASK, [2, 1]),
}
#: Networks that differ in where their features are.
NETWORKS = {
    "classification": ["resnet9", "mobilenet_v3_small", "squeezenet1_1"],
    "detection": [next(name for name in family.variants if "50" not in name and "vgg" not in name) for family in FAMILIES],
    "segmentation": [name for name in SEGMENTATION_NAMES if "50" not in name],
}
CASES = [(task, model) for task, models in NETWORKS.items() for model in models]


def subject_of(task: str, model: str) -> Subject:
    spec = ModelSpec(
        task=task,
        model=model,
        classes=CLASSES,
        preprocess=Preprocess(size_hw=(SIDE, SIDE), channels=3, resize="stretch"),
        mean=[0.5] * 3,
        std=[0.3] * 3,
        dataset=DatasetRef(name="d", version="1", manifest_digest="0", num_images=0),
        training_digest="0",
    )
    torch.manual_seed(0)
    return Subject.of(plugin("components.tasks", "task", task).build_model(spec), spec)


def test_every_task_has_answers_and_a_case_here() -> None:
    assert set(plugin_names(SEAM)) == set(plugin_names("components.tasks")) == set(PREDICTIONS)


@pytest.mark.parametrize("task", PREDICTIONS)
def test_answers_are_what_is_shown_the_most_important_first(task: str) -> None:
    prediction, labels = PREDICTIONS[task]
    answers = plugin(SEAM, "task", task).of(prediction, CLASSES)
    assert [answer.label for answer in answers] == labels
    figures = plugin("components.evaluation.figures", "task", task)
    assert figures.marked(np.zeros((SIDE, SIDE, 3), np.uint8), answers[0].part, CLASSES).dtype == np.uint8


def test_an_image_on_which_nothing_is_found_has_no_answer_and_one_of_background_alone_has_that() -> None:
    nothing = Detections(np.empty((0, 4), np.float32), np.empty(0, np.int64), np.empty(0, np.float32))
    assert plugin(SEAM, "task", "detection").of(nothing, CLASSES) == []
    assert [answer.label for answer in plugin(SEAM, "task", "segmentation").of(np.zeros_like(MASK), CLASSES)] == [0]


@pytest.mark.parametrize(("task", "model"), CASES)
def test_every_network_can_be_explained(task: str, model: str) -> None:
    subject = subject_of(task, model)
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    answer = subject.answers.of(PREDICTIONS[task][0], CLASSES)[0]
    scores = subject.scores(torch.cat([image, image.flip(3)]), answer)
    assert scores.shape == (2,)
    assert ((scores >= 0) & (scores <= 1)).all()
    heat = gradcam(subject, image, answer)
    assert heat.shape == (SIDE, SIDE)
    assert heat.min() >= 0
    assert np.isfinite(heat).all()
