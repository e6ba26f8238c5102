"""Out of memory: which batch size would fit."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from components.errors import InputError


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that the device, or the machine, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def out_of_memory(attempt: Callable[[int], object], batch_size: int, accumulate: int, device: torch.device) -> InputError:
    """Return the error that names the largest half, quarter, … of the batch size that fits, found by trying.

    Args:
        attempt: One training step without the optimiser on that many images; raises when it does not fit.
        batch_size: The one that did not fit.
        accumulate: Batches per optimiser step, as it was.
        device: For the error's text, and to give its cache back.
    """
    found = f"out of memory on {device} with batch_size {batch_size}"
    size = batch_size // 2
    while size:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            attempt(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size //= 2
            continue
        more = accumulate * -(-batch_size // size)
        return InputError(f"{found}; batch_size {size} fits (tried). With accumulate: {more} each step still sees as many images")
    return InputError(f"{found}, and a single image does not fit either. Choose a smaller model or task.image_size, or another device")
