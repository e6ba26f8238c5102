"""Which layer of a network holds the features that an answer was read from."""

from __future__ import annotations

import torch
from torch import nn

from components.errors import InputError

#: A coarser map says hardly where something is: on digits at 16 pixels, blanking what a map of 2×2 cells highlighted cost no more than chance.
LEAST_SIDE = 4
#: Height to width of a feature map is that of the image but for rounding; where it is not, the axes are others (N, h, w, channels).
_MOST_SKEW = 0.25


def last_feature_layer(model: nn.Module, images_NCHW: torch.Tensor, least_side: int = LEAST_SIDE) -> str:
    """Return the name of the last module, in the order in which they run, whose output is a feature map that still says where.

    What is inside of a block that returns a map itself is a branch of it, not all that the network sees, and is left out, unless the block is
    a plain sequence.

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
    sides: dict[str, int] = {}

    def listen(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def note(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4:
                rows, columns = output.shape[2:]
                if abs(rows * width - columns * height) <= _MOST_SKEW * rows * width:
                    sides.pop(name, None)  # one that runs again counts where it ran last
                    sides[name] = min(rows, columns)

        return module.register_forward_hook(note)

    handles = [listen(name, module) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(images_NCHW)
    finally:
        for handle in handles:
            handle.remove()
    trunk = {name: side for name, side in sides.items() if not any(_branches(model, block) for block in _around(name) if block in sides)}
    if not trunk:
        raise InputError("the network has no feature map (N, channels, h, w), so Grad-CAM has nothing to look at. Use a convolutional one")
    enough = min(least_side, max(trunk.values()))
    return [name for name, side in trunk.items() if side >= enough][-1]


def _around(name: str) -> list[str]:
    """Return the names of the modules that hold this one."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _branches(model: nn.Module, block: str) -> bool:
    return type(model.get_submodule(block)).forward is not nn.Sequential.forward
