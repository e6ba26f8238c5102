from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from components.datasets.policy import Policy
from components.errors import ConfigError
from components.tasks.classification import MixedLabels, plugin

CLASSES = ["cat", "dog", "owl"]
SETTINGS = {"label_smoothing": 0.0, "class_weights": "none", "loss": {}}


class Fixed(nn.Module):
    """Gives the logits it was made with."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, _images: torch.Tensor) -> torch.Tensor:
        return self.logits


LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0], [0.0, 3.0, 0.0], [1.0, 0.0, 2.0]])
LABELS = torch.tensor([0, 1, 1, 2])
IMAGES = torch.zeros(4, 3, 8, 8)


def test_the_loss_is_cross_entropy_with_label_smoothing() -> None:
    options = plugin.loss_options({**SETTINGS, "label_smoothing": 0.1}, LABELS.tolist(), CLASSES)
    loss = plugin.loss(Fixed(LOGITS), IMAGES, LABELS, options)
    assert loss.item() == pytest.approx(float(functional.cross_entropy(LOGITS, LABELS, label_smoothing=0.1)))


def test_balanced_weights_make_classes_count_alike_and_the_mean_weight_one() -> None:
    targets = [0] * 90 + [1] * 9 + [2]
    weights = plugin.loss_options({**SETTINGS, "class_weights": "balanced"}, targets, CLASSES)["class_weights"]
    counts = torch.tensor([90.0, 9.0, 1.0])
    assert torch.allclose(weights * counts, torch.full((3,), 100 / 3))


def test_named_weights_weigh_each_image() -> None:
    options = plugin.loss_options({**SETTINGS, "class_weights": {"dog": 3.0}}, LABELS.tolist(), CLASSES)
    each = functional.cross_entropy(LOGITS, LABELS, reduction="none")
    expected = (each * torch.tensor([1.0, 3.0, 3.0, 1.0])).sum() / 8
    assert plugin.loss(Fixed(LOGITS), IMAGES, LABELS, options).item() == pytest.approx(float(expected))
    with pytest.raises(ConfigError, match=r"unknown class in class_weights 'bat'. Did you mean 'cat'"):
        plugin.loss_options({**SETTINGS, "class_weights": {"bat": 2.0}}, LABELS.tolist(), CLASSES)
    with pytest.raises(ConfigError, match="every class with training images weighs nothing"):
        plugin.loss_options({**SETTINGS, "class_weights": {"dog": 0.0}}, [CLASSES.index("dog")] * 4, CLASSES)


def test_the_loss_of_mixed_images_lies_between_those_of_both_labels() -> None:
    options = plugin.loss_options(SETTINGS, LABELS.tolist(), CLASSES)
    kept = torch.tensor([1.0, 0.25, 0.5, 0.0])
    partners = torch.tensor([1, 0, 2, 0])
    loss = plugin.loss(Fixed(LOGITS), IMAGES, MixedLabels(LABELS, partners, kept), options)
    shares = functional.one_hot(LABELS, 3) * kept.unsqueeze(1) + functional.one_hot(partners, 3) * (1 - kept.unsqueeze(1))
    assert loss.item() == pytest.approx(float(functional.cross_entropy(LOGITS, shares)))


def test_augment_turns_labels_into_mixed_ones_only_where_the_policy_mixes() -> None:
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    _, plain = plugin.augment(images, LABELS, Policy(horizontal_flip=0.5), torch.Generator())
    _, mixed = plugin.augment(images, LABELS, Policy(mixup=0.2), torch.Generator())
    assert plain is LABELS
    assert isinstance(mixed, MixedLabels)


@pytest.mark.parametrize("policy", [Policy(mosaic=0.5), Policy(copy_paste=0.2)])
def test_a_policy_that_labels_cannot_follow_is_refused(policy: Policy) -> None:
    with pytest.raises(ConfigError, match=r"augment\.policy\.(mosaic|copy_paste): found 0\..; an image has one class.*Leave it out"):
        plugin.augment(IMAGES, LABELS, policy, torch.Generator())


def test_predictions_are_probabilities() -> None:
    predictions = plugin.predict(Fixed(LOGITS).eval(), IMAGES)
    np.testing.assert_allclose([p.sum() for p in predictions], 1, atol=1e-6)
    assert [int(p.argmax()) for p in predictions] == [0, 0, 1, 2]


def test_parts_of_a_loss_that_there_are_not_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss: found \{'dice': 1\.0\}; classification has one loss"):
        plugin.loss_options({**SETTINGS, "loss": {"dice": 1.0}}, LABELS.tolist(), CLASSES)
