"""FCOS of torchvision (Tian et al. 2019, arXiv:1904.01355): a feature pyramid without anchors; how central a place is weighs its score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch

from components.networks.detection._torchvision import TorchvisionDetector, decoded, in_float, resnet_fpn, targets_of
from components.networks.detection.objects import Objects

Outputs = dict[str, torch.Tensor]


class FCOS(TorchvisionDetector):
    """The detector; its anchors are one square a place, as wide as the level's stride.

    Args:
        num_classes: C.
        channels: Of the images.
        backbone: A ResNet's name.
        center_sampling_radius: In strides: places as near as this to an object's centre are taught it.
    """

    variants: ClassVar = {f"fcos_{backbone}_fpn": {"backbone": backbone} for backbone in ("resnet18", "resnet50")}

    def __init__(self, num_classes: int, channels: int, backbone: str, center_sampling_radius: float = 1.5) -> None:
        from torchvision.models import detection
        from torchvision.ops.feature_pyramid_network import LastLevelP6P7

        pyramid = resnet_fpn(backbone, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
        super().__init__(detection.FCOS(pyramid, num_classes, center_sampling_radius=center_sampling_radius), channels)

    def forward(self, images_NCHW: torch.Tensor) -> Outputs:
        """Return `cls_logits` (N, P, C), `bbox_regression` (N, P, 4) and `bbox_ctrness` (N, P, 1)."""
        return cast(Outputs, self.model.head(list(self.model.backbone(images_NCHW).values())))

    def loss(self, raw: Outputs, objects: Objects, size_hw: tuple[int, int], weights: Mapping[str, float]) -> torch.Tensor:
        """Return the focal loss of the classes with the cross-entropy of how central a place is, and generalised IoU of the boxes."""
        targets, anchors = targets_of(objects), self.anchors(size_hw, objects.boxes_xyxy.device)
        counts = [height * width for height, width in self.level_sizes(size_hw)]
        parts = self.model.compute_loss(targets, in_float(raw), [anchors] * len(targets), counts)
        weights = {**self.loss_weights, **weights}
        label = parts["classification"] + parts["bbox_ctrness"]
        return cast(torch.Tensor, weights["label"] * label + weights["box"] * parts["bbox_regression"])

    def decode(self, raw: Outputs, anchors: torch.Tensor, size_hw: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes and scores of all places."""
        outputs = in_float(raw)
        scores = (outputs["cls_logits"].sigmoid() * outputs["bbox_ctrness"].sigmoid()).sqrt()
        return decoded(self.model.box_coder.decode, outputs["bbox_regression"], anchors, size_hw), scores

    def head_names(self) -> list[str]:
        """Return the names of the parameters of the convolution that names classes."""
        return [f"model.head.classification_head.cls_logits.{kind}" for kind in ("weight", "bias")]

    def feature_layers(self) -> list[str]:
        """Return the pyramid's last convolutions."""
        return [f"model.backbone.fpn.layer_blocks.{level}" for level in range(len(self.model.backbone.fpn.layer_blocks))]
