from __future__ import annotations

import pytest
import torch

from components.networks.segmentation.losses import IGNORE, loss


def _certain(masks: torch.Tensor, num_classes: int) -> torch.Tensor:
    return 20.0 * torch.nn.functional.one_hot(masks.clamp(max=num_classes - 1), num_classes).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "dice"])
def test_the_truth_costs_nothing_and_the_opposite_most(name: str) -> None:
    masks = torch.tensor([[[0, 1], [1, 0]]])
    right, undecided, wrong = (loss(logits, masks, {name: 1.0}) for logits in (_certain(masks, 2), torch.zeros(1, 2, 2, 2), _certain(1 - masks, 2)))
    assert right < 1e-3
    assert right < undecided < wrong


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "dice"])
def test_what_is_not_labelled_teaches_nothing(name: str) -> None:
    masks = torch.tensor([[[0, IGNORE], [1, IGNORE]]])
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    loss(logits, masks, {name: 1.0}).backward()
    assert logits.grad is not None
    assert logits.grad[..., 1].abs().sum() == 0
    assert logits.grad[..., 0].abs().sum() > 0
    assert torch.isfinite(loss(logits, torch.full((1, 2, 2), IGNORE), {name: 1.0}))


def test_losses_add_up() -> None:
    masks, logits = torch.tensor([[[0, 1], [1, 0]]]), torch.randn(1, 2, 2, 2)
    parts = loss(logits, masks, {"cross_entropy": 1.0}) + 0.5 * loss(logits, masks, {"dice": 1.0})
    torch.testing.assert_close(loss(logits, masks, {"cross_entropy": 1.0, "dice": 0.5, "focal": 0.0}), parts)


def test_cross_entropy_is_the_mean_over_labelled_pixels() -> None:
    masks, logits = torch.tensor([[[0, 1], [IGNORE, 0]]]), torch.randn(1, 2, 2, 2)
    torch.testing.assert_close(loss(logits, masks, {"cross_entropy": 1.0}), torch.nn.functional.cross_entropy(logits, masks, ignore_index=IGNORE))


def test_dice_is_counted_as_its_formula_says() -> None:
    masks, logits = torch.tensor([[[0, 1], [IGNORE, 2]], [[1, 1], [0, IGNORE]]]), torch.randn(2, 4, 2, 2)
    given, parts = logits.softmax(dim=1), []
    for label in range(4):
        wanted, seen = (masks == label).float(), given[:, label] * (masks != IGNORE)
        parts.append((2 * (wanted * seen).sum() + 1) / (wanted.sum() + seen.sum() + 1))
    torch.testing.assert_close(loss(logits, masks, {"dice": 1.0}), 1 - torch.stack(parts).mean())
