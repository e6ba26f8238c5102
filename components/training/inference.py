"""Predictions of a network for stored images."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from components import progress
from components.datasets.prepared import PreparedSplit
from components.protocols import Task
from components.records import Preprocess
from components.serving.restoring import restored, sizes_of
from components.training.runtime import Runtime, plain_runtime


def predict(
    task: Task,
    model: nn.Module,
    images_NHWC: npt.NDArray[np.uint8],
    *,
    batch_size: int = 256,
    runtime: Runtime | None = None,
    description: str | None = None,
) -> list[Any]:
    """Return the task's prediction for each image, in the network's pixels.

    Args:
        task: What was learnt.
        model: Its network; afterwards in the mode, and on the device, that it was in.
        images_NHWC: uint8 (N, H, W, C), memory-mapped or not.
        batch_size: Images that go through at once.
        runtime: How it runs, the model being placed already; None: float32 on the best device there is.
        description: What the progress bar says; None: no bar.
    """
    home = next(model.parameters()).device
    if runtime is None:
        runtime = plain_runtime()
        model.to(runtime.device)
    training = [module for module in model.modules() if module.training]
    predictions: list[Any] = []
    model.eval()
    try:
        with torch.inference_mode(), progress.bar(description, len(images_NHWC)) if description else nullcontext() as bar:
            for first in range(0, len(images_NHWC), batch_size):
                batch = torch.from_numpy(np.array(images_NHWC[first : first + batch_size])).to(runtime.device)
                with runtime.autocast():
                    predictions += task.predict(model, runtime.images(batch.permute(0, 3, 1, 2)))
                if bar is not None:
                    bar.update(len(batch))
    finally:
        for module in training:
            module.training = True
        model.to(home)
    return predictions


def predict_originals(task: Task, model: nn.Module, split: PreparedSplit, preprocess: Preprocess, **keywords: Any) -> list[Any]:
    """Return the task's prediction for each image of a split, in the pixels of its upright original: what evaluators judge.

    Args:
        task: What was learnt.
        model: Its network.
        split: Images and their rows.
        preprocess: How the originals became the images.
        keywords: More for `predict`.
    """
    return restored(task.postprocess, predict(task, model, split.images, **keywords), sizes_of(split.rows, preprocess), preprocess)
