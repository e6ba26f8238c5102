"""RetinaNet of torchvision (Lin et al. 2017, arXiv:1708.02002): a feature pyramid, nine anchors a place, and the focal loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch

from components.networks.detection._torchvision import TorchvisionDetector, decoded, in_float, resnet_fpn, targets_of
from components.networks.detection.objects import Objects

Outputs = dict[str, torch.Tensor]
#: Sides of the anchors of each level in pixels, times 1, 2^(1/3) and 2^(2/3), and their heights over their widths.
_SIDES, _THIRDS, _RATIOS = (32, 64, 128, 256, 512), (0, 1, 2), (0.5, 1.0, 2.0)


class RetinaNet(TorchvisionDetector):
    """The detector.

    Args:
        num_classes: C.
        channels: Of the images.
        backbone: A ResNet's name.
        anchor_scale: By which the sides of the anchors, 32 to 813 pixels, are multiplied.
    """

    variants: ClassVar = {f"retinanet_{backbone}_fpn": {"backbone": backbone} for backbone in ("resnet18", "resnet50")}

    def __init__(self, num_classes: int, channels: int, backbone: str, anchor_scale: float = 1.0) -> None:
        from torchvision.models import detection
        from torchvision.models.detection.anchor_utils import AnchorGenerator
        from torchvision.ops.feature_pyramid_network import LastLevelP6P7

        coarsest = 512 if backbone in ("resnet18", "resnet34") else 2048
        pyramid = resnet_fpn(backbone, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(coarsest, 256))
        sides = tuple(tuple(int(side * 2 ** (third / 3)) * anchor_scale for third in _THIRDS) for side in _SIDES)
        super().__init__(detection.RetinaNet(pyramid, num_classes, anchor_generator=AnchorGenerator(sides, (_RATIOS,) * len(sides))), channels)

    def forward(self, images_NCHW: torch.Tensor) -> Outputs:
        """Return `cls_logits` (N, P, C) and `bbox_regression` (N, P, 4)."""
        return cast(Outputs, self.model.head(list(self.model.backbone(images_NCHW).values())))

    def loss(self, raw: Outputs, objects: Objects, size_hw: tuple[int, int], weights: Mapping[str, float]) -> torch.Tensor:
        """Return the focal loss of the classes and L1 of the boxes."""
        targets, anchors = targets_of(objects), self.anchors(size_hw, objects.boxes_xyxy.device)
        parts = self.model.compute_loss(targets, in_float(raw), [anchors] * len(targets))
        weights = {**self.loss_weights, **weights}
        return cast(torch.Tensor, weights["label"] * parts["classification"] + weights["box"] * parts["bbox_regression"])

    def decode(self, raw: Outputs, anchors: torch.Tensor, size_hw: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes and scores of all anchors."""
        outputs = in_float(raw)
        return decoded(self.model.box_coder.decode_single, outputs["bbox_regression"], anchors, size_hw), outputs["cls_logits"].sigmoid()

    def head_names(self) -> list[str]:
        """Return the names of the parameters of the convolution that names classes; its rows are those of each anchor's classes."""
        return [f"model.head.classification_head.cls_logits.{kind}" for kind in ("weight", "bias")]

    def feature_layers(self) -> list[str]:
        """Return the pyramid's last convolutions."""
        return [f"model.backbone.fpn.layer_blocks.{level}" for level in range(len(self.model.backbone.fpn.layer_blocks))]
