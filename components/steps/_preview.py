"""The random policy as a picture: originals beside what training may see of them, with what is learnt of each drawn in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.datasets.annotations import classes_shown
from components.datasets.contact_sheet import Pixels, contact_sheet
from components.datasets.policy import Policy
from components.datasets.prepared import Prepared
from components.protocols import Evaluator, Figures, Task, plugin
from components.records import Preprocess
from components.serving.restoring import sizes_of

_NUM_ORIGINALS = 8
_NUM_VERSIONS = 5


def draw_preview(prepared: Prepared, policy: Policy, path: Path) -> None:
    """Draw training images of different classes, each with five augmented versions beside it.

    Args:
        prepared: The prepared data.
        policy: The random policy of the training.
        path: The PNG to write.

    Raises:
        ConfigError: The policy asks for what the task's targets cannot follow.
    """
    record, train = prepared.record, prepared.split("train")
    task: Task = plugin("components.tasks", "task", record.task)
    figures: Figures = plugin("components.evaluation.figures", "task", record.task)
    evaluator: Evaluator = plugin("components.evaluation.metrics", "task", record.task)(record.classes)
    shown = [", ".join(sorted(names)) for names in classes_shown(train.rows, record.classes)]
    chosen = _different(shown)
    rows, images_NHWC = train.rows.iloc[chosen], np.ascontiguousarray(train.images[chosen])
    preprocess = Preprocess(size_hw=record.sizes[0], channels=record.channels, resize=record.resize)
    targets = task.place(evaluator.targets(rows), sizes_of(rows, preprocess), preprocess)
    versions = [(images_NHWC, targets), *(_version(task, images_NHWC, targets, policy, seed) for seed in range(_NUM_VERSIONS))]
    images: list[Pixels | None] = []
    captions = []
    for row, index in enumerate(chosen):
        images += [figures.marked(version[row], marks[row], record.classes) for version, marks in versions]
        captions += [f"{rows['image_id'].iloc[row]}\n{shown[index]}", *(f"augmented {number + 1}" for number in range(_NUM_VERSIONS))]
    changed = {name: value for name, value in policy.model_dump().items() if value != Policy.model_fields[name].default}
    title = "augment.policy: " + (json.dumps(changed)[1:-1].replace('"', "") or "nothing is changed")
    contact_sheet(images, captions, title).save(path)


def _different(shown: Sequence[str]) -> list[int]:
    """Return the first images that show different classes, in their order."""
    first: dict[str, int] = {}
    for index, names in enumerate(shown):
        first.setdefault(names, index)
    return sorted(first.values())[:_NUM_ORIGINALS]


def _version(task: Task, images_NHWC: Pixels, targets: Sequence[Any], policy: Policy, seed: int) -> tuple[Pixels, Sequence[Any]]:
    """Augment a batch with the code that training uses."""
    import torch

    from components.augmentation.random_policy import to_float

    generator = torch.Generator().manual_seed(seed)
    images_NCHW = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2)
    seen, moved = task.augment(images_NCHW, task.collate(targets, torch.device("cpu")), policy, generator)
    pixels: Pixels = to_float(seen).clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return pixels, task.separate(moved)
