"""Batches at other sizes than the network is made for, so that it learns things of more sizes; it is judged at its own.

After Redmon and Farhadi 2017 (YOLO9000, arXiv:1612.08242), who draw a size every ten batches; here each batch draws its own.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch.nn import functional

from components.augmentation.random_policy import to_float
from components.errors import ConfigError
from components.protocols import Rescaler
from components.training.feed import derived_seed
from components.training.multiply_adds import multiply_adds
from components.training.options import FitOptions
from components.training.problem import Problem

#: No more sizes than these: a GPU chooses its kernels, and keeps its memory, for each of them.
_MOST_SIZES = 9


class MultiScale:
    """Draws a size for each batch.

    Args:
        task: Its targets can follow the images.
        sizes: Height and width in pixels.
    """

    def __init__(self, task: Rescaler, sizes: list[tuple[int, int]]) -> None:
        self._task, self.sizes = task, sizes

    @classmethod
    def of(cls, problem: Problem, options: FitOptions) -> Self | None:
        """Return the sizes that `options.multi_scale` asks for; None where it asks for no other than the network's own.

        Raises:
            ConfigError: The task cannot do this, the network takes one size only, or there is no other size in the range.
        """
        low, high = options.multi_scale
        if low == high:
            return None
        spec, task = problem.spec, problem.task
        found = f"multi_scale: found [{low:g}, {high:g}]"
        if not isinstance(task, Rescaler):
            raise ConfigError(f"{found}; the task {spec.task} cannot follow images to another size. Leave it out")
        height, width = spec.preprocess.size_hw
        sizes = _sizes(height, width, low, high, task.size_step)
        if len(sizes) < 2:
            raise ConfigError(
                f"{found}; in steps of {task.size_step} pixels images of {height}×{width} have no other size there. Widen it or leave it out"
            )
        for size_hw in (sizes[0], sizes[-1]):
            other = spec.preprocess.model_copy(update={"size_hw": size_hw})
            try:
                with torch.device("meta"):
                    task.build_model(spec.model_copy(update={"preprocess": other, "structure": None}))
                multiply_adds(problem.model, other)
            except ConfigError as error:
                raise ConfigError(f"{found}; {spec.model} cannot take images of {size_hw[0]}×{size_hw[1]} pixels. Leave it out") from error
        return cls(task, sizes)

    def __call__(self, images_NCHW: torch.Tensor, targets: Any, seed: int) -> tuple[torch.Tensor, Any]:
        """Bring a batch to a size that is a function of `seed`, with a filter that averages where it shrinks.

        Args:
            images_NCHW: uint8 or float in 0..1.
            targets: As `Task.augment` returns them.
            seed: Of the batch.

        Returns:
            Images as float in 0..1 where their size is another, and their targets.
        """
        before, after = (int(images_NCHW.shape[2]), int(images_NCHW.shape[3])), self.sizes[derived_seed(seed) % len(self.sizes)]
        if before == after:
            return images_NCHW, targets
        images = functional.interpolate(to_float(images_NCHW), after, mode="bilinear", align_corners=False, antialias=True)
        return images, self._task.rescale(targets, before, after)


def _sizes(height: int, width: int, low: float, high: float, step: int) -> list[tuple[int, int]]:
    """Return the sizes whose height is a multiple of `step` in the range, the smallest first, with the same aspect ratio as far as steps allow."""
    first, last = -int(-low * height // step), int(high * height // step)
    heights = [count * step for count in range(max(first, 1), last + 1)]
    sizes = {(each, max(step, round(width * each / height / step) * step)) for each in heights} | {(height, width)}
    ordered = sorted(sizes)
    if len(ordered) <= _MOST_SIZES:
        return ordered
    return [ordered[round(index * (len(ordered) - 1) / (_MOST_SIZES - 1))] for index in range(_MOST_SIZES)]
