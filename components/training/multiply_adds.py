"""How much a network computes."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from components.errors import ConfigError
from components.records import Preprocess


def multiply_adds(model: nn.Module, preprocess: Preprocess) -> int:
    """Return the multiply-adds of one image: convolutions, linear layers and attention, as torch counts them.

    Args:
        model: images_NCHW → outputs; left as it was.
        preprocess: Size and channels of the images.

    Raises:
        ConfigError: The network cannot take images of this size.
    """
    height, width = preprocess.size_hw
    # on the meta device: shapes without numbers
    shadow = copy.deepcopy(model).to("meta").eval()
    image = torch.empty(1, preprocess.channels, height, width, device="meta")
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            shadow(image)
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"the model cannot take images of {height}×{width} px: {reason}. Change task.image_size, or choose another model"
        ) from error
    return int(counter.get_total_flops()) // 2
