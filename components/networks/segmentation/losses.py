"""What a segmentation network is taught by: cross-entropy, focal and Dice loss, alone or summed. Pixels labelled 255 teach nothing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

IGNORE = 255
#: Focusing of the focal loss: Lin et al. 2017, arXiv:1708.02002.
_GAMMA = 2.0
_SMOOTH = 1.0


def loss(logits: torch.Tensor, masks: torch.Tensor, weights: Mapping[str, float], class_weights: torch.Tensor | None = None) -> torch.Tensor:
    """Return the weighted sum of losses, a scalar.

    Args:
        logits: float (N, C, H, W).
        masks: int64 (N, H, W), class indices or 255.
        weights: By name, of `LOSSES`, what each weighs.
        class_weights: float (C,), of cross-entropy and focal loss.
    """
    parts = [weight * LOSSES[name](logits.float(), masks, class_weights) for name, weight in weights.items() if weight]
    return torch.stack(parts).sum()


def _of_pixels(logits: torch.Tensor, masks: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    return functional.cross_entropy(logits, masks, weight=class_weights, ignore_index=IGNORE, reduction="none")


def _cross_entropy(logits: torch.Tensor, masks: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    return _of_pixels(logits, masks, class_weights).sum() / (masks != IGNORE).sum().clamp(min=1)


def _focal(logits: torch.Tensor, masks: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    plain = _of_pixels(logits, masks, None)
    weight = (1 - torch.exp(-plain)) ** _GAMMA
    return (weight * _of_pixels(logits, masks, class_weights)).sum() / (masks != IGNORE).sum().clamp(min=1)


def _dice(logits: torch.Tensor, masks: torch.Tensor, _class_weights: torch.Tensor | None) -> torch.Tensor:
    """Return one minus the soft Dice coefficient over the batch, mean of the classes (Milletari et al. 2016, arXiv:1606.04797)."""
    judged = masks != IGNORE
    labels = masks.masked_fill(~judged, 0)
    given = logits.softmax(dim=1)
    right = given.gather(1, labels[:, None])[:, 0] * judged
    zero = given.new_zeros(logits.shape[1])  # sums by class, without a plane of ones and zeros for each
    shared = zero.index_add(0, labels.flatten(), right.flatten())
    sizes = (given * judged[:, None]).sum(dim=(0, 2, 3)) + zero.index_add(0, labels.flatten(), judged.flatten().to(given.dtype))
    return 1 - ((2 * shared + _SMOOTH) / (sizes + _SMOOTH)).mean()


LOSSES = {"cross_entropy": _cross_entropy, "dice": _dice, "focal": _focal}
