"""Which layer of a network holds the features that an answer was read from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from components.errors import InputError

#: A coarser map says hardly where something is: on digits at 16 pixels, blanking what a map of 2×2 cells highlighted cost no more than chance.
LEAST_SIDE = 4
#: Height to width of a feature map is that of the image but for rounding; where it is not, the axes are others (N, h, w, channels).
_MOST_SKEW = 0.25


class _Map(NamedTuple):
    layer: str
    side: int


def last_feature_layer(model: nn.Module, images_NCHW: torch.Tensor, least_side: int = LEAST_SIDE) -> str:
    """Return the name of the last module, in the order in which they run, whose output is a feature map that still says where.

    Args:
        model: images_NCHW → anything; in evaluation mode.
        images_NCHW: Float, what the model takes; one is enough.
        least_side: Cells of the map's shorter side; if all are smaller, the last of the largest is taken.

    Returns:
        The name for `get_submodule`; its output is (N, channels, h, w).

    Raises:
        InputError: The network has no feature map.
    """
    height, width = images_NCHW.shape[2:]
    found: list[_Map] = []

    def listen(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def note(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4:
                rows, columns = output.shape[2:]
                if abs(rows * width - columns * height) <= _MOST_SKEW * rows * width:
                    found.append(_Map(name, min(rows, columns)))

        return module.register_forward_hook(note)

    handles = [listen(name, module) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(images_NCHW)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise InputError("the network has no feature map (N, channels, h, w), so Grad-CAM has nothing to look at. Use a convolutional one")
    enough = min(least_side, max(each.side for each in found))
    return [each.layer for each in found if each.side >= enough][-1]
