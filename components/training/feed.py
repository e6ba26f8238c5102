"""Batches as a pure function of seed, epoch and number: a run that was killed goes on exactly where it was, at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

_RESIDENT_SHARE = 0.4


def derived_seed(*parts: int) -> int:
    """Return a seed in 0..2**63 that belongs to these numbers alone, for example (seed, epoch, step)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


class Feed:
    """Gives whole batches of stored images to the training device.

    Every batch has the same size: the last one of an epoch is filled up with the epoch's first images, so that no image is left out and no
    batch is too small for BatchNorm. On a GPU the images live there where they fit; otherwise they are copied ahead through pinned memory.

    Args:
        images: uint8 (N, H, W, C), memory-mapped or not.
        targets: One target an image.
        order: The indices of one epoch before shuffling.
        batch_size: Images in a batch, at most as many as an epoch has.
        seed: Of the run.
        device: Where the batches go.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        targets: Sequence[Any],
        order: npt.NDArray[np.int64],
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self._images, self._targets, self._order, self._seed, self._device = images, targets, order, seed, device
        self.batch_size = min(batch_size, len(order))
        self.num_batches = -(-len(order) // self.batch_size)
        self._resident: torch.Tensor | None = None
        if device.type == "cuda" and images.nbytes < _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
            self._resident = torch.from_numpy(np.ascontiguousarray(images)).to(device)

    def batches(self, epoch: int, first: int = 0) -> Iterator[tuple[torch.Tensor, list[Any]]]:
        """Yield the batches of an epoch from number `first` on: images_NCHW uint8 on the device, and their targets."""
        shuffled = np.random.default_rng([self._seed, epoch]).permutation(self._order)
        filled = np.resize(shuffled, self.num_batches * self.batch_size)
        indices = [filled[number * self.batch_size : (number + 1) * self.batch_size] for number in range(first, self.num_batches)]
        if self._device.type == "cpu" or self._resident is not None:
            for index in indices:
                yield self._gather(index), [self._targets[i] for i in index]
            return
        with ThreadPoolExecutor(1) as ahead:
            waiting = [ahead.submit(self._gather, index) for index in indices[:2]]
            for number, index in enumerate(indices):
                batch = waiting.pop(0).result()
                if number + 2 < len(indices):
                    waiting.append(ahead.submit(self._gather, indices[number + 2]))
                yield batch.to(self._device, non_blocking=True).permute(0, 3, 1, 2), [self._targets[i] for i in index]

    def _gather(self, index: npt.NDArray[np.int64]) -> torch.Tensor:
        if self._resident is not None:
            return self._resident[torch.from_numpy(index).to(self._device)].permute(0, 3, 1, 2)
        batch = torch.from_numpy(np.take(self._images, index, axis=0))
        return batch.pin_memory() if self._device.type == "cuda" else batch.permute(0, 3, 1, 2)
