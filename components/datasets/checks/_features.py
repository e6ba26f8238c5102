"""Features of small pictures without labels and without a network: one layer of whitened random patches.

Coates, Lee and Ng 2011, "An analysis of single-layer networks in unsupervised feature learning" (AISTATS): patches normalised for
brightness and contrast, whitened, compared with a bank of patches, the answers rectified and pooled over regions. The bank is drawn
from the data's own patches in place of k-means: Coates and Ng 2011, "The importance of encoding versus training with sparse coding
and vector quantization" (ICML), find little between them if the encoding is the two-sided soft threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from components.progress import bar

NUM_FILTERS = 384
#: A picture's least height and width in pixels.
MIN_SIDE = 8
_PATCH, _POOL = 6, 3
_CONTRAST_FLOOR, _WHITENING_FLOOR, _THRESHOLD = 10.0, 0.1, 0.25
_NUM_SAMPLED, _PATCHES_EACH = 1000, 100
_BLOCK = 4  # images at a time: what the filters answer then stays in the processor's cache


def describe(thumbnails: npt.NDArray[np.uint8], seed: int = 0, mirrored: bool = False) -> npt.NDArray[np.float16]:
    """Describe pictures by what a bank of their own patches answers.

    Deterministic for a seed and a number of threads. Takes 14 kB a picture and little else.

    Args:
        thumbnails: uint8 (N, S, S, C), S at least MIN_SIDE.
        seed: Of the choice of patches.
        mirrored: Describe a picture and its mirror image alike, by the mean of both; takes twice the time.

    Returns:
        float16 (N, 2 × 9 × 384): for both signs, each of nine regions and each filter the mean answer above the threshold.
    """
    import torch

    num, side, _, _ = thumbnails.shape
    draw = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        sampled = torch.randperm(num, generator=draw)[:_NUM_SAMPLED].sort().values.numpy()
        patches = _patches(thumbnails[sampled])
        patches = patches[:, torch.randperm(patches.shape[1], generator=draw)[:_PATCHES_EACH]].flatten(0, 1).float()
        filters, offset = _filters(patches, draw)
        pooling = _pooling(side - _PATCH + 1)
        described = np.empty((num, 2 * len(pooling) * filters.shape[1]), np.float16)
        with bar("describing images", num) as progress:
            for start in range(0, num, _BLOCK):
                some = thumbnails[start : start + _BLOCK]
                found = _answers(some, filters, offset, pooling)
                if mirrored:
                    found = (found + _answers(some[:, :, ::-1], filters, offset, pooling)) / 2
                described[start : start + _BLOCK] = found.numpy()
                progress.update(len(some))
    return described


def _patches(thumbnails: npt.NDArray[np.uint8]) -> Any:
    """Return every patch, mean 0 and standard deviation about 1: bfloat16 (N, positions, 6 × 6 × C)."""
    import torch

    num, _, side, channels = thumbnails.shape
    pixels = torch.from_numpy(np.ascontiguousarray(thumbnails)).float() - 128  # whole numbers below 256 are exact in bfloat16
    powers = torch.stack([pixels.mean(3), pixels.square().mean(3)], 1)
    mean, square = torch.nn.functional.avg_pool2d(powers, _PATCH, 1).flatten(2).unsqueeze(3).unbind(1)
    contrast = torch.rsqrt((square - mean.square()).clamp(min=0) + _CONTRAST_FLOOR)
    rows = pixels.bfloat16().view(num, side, side * channels).unfold(2, _PATCH * channels, channels)  # a patch's row lies together
    patches = rows.unfold(1, _PATCH, 1).transpose(-1, -2).reshape(num, -1, _PATCH * _PATCH * channels)
    return patches.sub_(mean.bfloat16()).mul_(contrast.bfloat16())


def _answers(thumbnails: npt.NDArray[np.uint8], filters: Any, offset: Any, pooling: Any) -> Any:
    """Return float32 (N, 2 × 9 × filters)."""
    import torch

    answers = _patches(thumbnails) @ filters
    answers -= offset
    above = pooling @ (answers - _THRESHOLD).clamp_(min=0)
    below = pooling @ (answers + _THRESHOLD).clamp_(max=0)
    return torch.stack([above, -below], 1).flatten(1).float()


def _filters(patches: Any, draw: Any) -> tuple[Any, Any]:
    """Return the whitened patches that answer, bfloat16 (6 × 6 × C, filters), and what they answer to the mean patch."""
    import torch

    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((patches - mean).T))
    whiten = vectors / torch.sqrt(values.clamp(min=0) + _WHITENING_FLOOR) @ vectors.T
    chosen = ((patches - mean) @ whiten)[torch.randperm(len(patches), generator=draw)[:NUM_FILTERS]]
    filters = whiten @ torch.nn.functional.normalize(chosen, dim=1).T
    return filters.bfloat16(), (mean @ filters).bfloat16()


def _pooling(positions: int) -> Any:
    """Return the matrix that takes the mean over each of 3 × 3 overlapping regions, each half as wide as the picture: bfloat16 (9, positions²)."""
    import torch

    edges = torch.linspace(0, positions / 2, _POOL)[:, None]
    place = torch.arange(positions) + 0.5
    inside = ((place > edges) & (place < edges + positions / 2)).float()
    both = (inside[:, None, :, None] * inside[None, :, None, :]).flatten(0, 1).flatten(1)
    return (both / both.sum(1, keepdim=True)).bfloat16()
