"""SSD (Liu et al. 2016, arXiv:1512.02325) and SSDlite (Sandler et al. 2018, arXiv:1801.04381; Howard et al. 2019, arXiv:1905.02244) of torchvision.

Class 0 of their heads is the background: it is added before the loss and taken off behind the scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from torch import nn

from components.networks.detection._torchvision import TorchvisionDetector, decoded, in_float, targets_of
from components.networks.detection.objects import Objects

Outputs = dict[str, torch.Tensor]
_BACKGROUND = 1
#: torch's own. SSDlite's 0.03 remembers what the statistics were before the first step for hundreds of steps: small sets have no more.
_MOMENTUM = 0.1


class SSD(TorchvisionDetector):
    """The detector.

    Args:
        num_classes: C.
        channels: Of the images.
        network: torchvision's name.
        anchor_scale: By which the sides of the default boxes are multiplied; they are shares of the image.
    """

    variants: ClassVar = {name: {"network": name} for name in ("ssd300_vgg16", "ssdlite320_mobilenet_v3_large")}

    def __init__(self, num_classes: int, channels: int, network: str, anchor_scale: float = 1.0) -> None:
        import torchvision

        model = torchvision.models.get_model(network, weights=None, weights_backbone=None, num_classes=num_classes + _BACKGROUND)
        self._size_hw, made = model.transform.fixed_size, model.anchor_generator
        super().__init__(model, channels)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = _MOMENTUM
        self._ratios, self._scales, self._steps = made.aspect_ratios, [scale * anchor_scale for scale in made.scales], made.steps

    def forward(self, images_NCHW: torch.Tensor) -> Outputs:
        """Return `cls_logits` (N, P, 1 + C) and `bbox_regression` (N, P, 4)."""
        return cast(Outputs, self.model.head(list(self.model.backbone(images_NCHW).values())))

    def generator(self, size_hw: tuple[int, int]) -> nn.Module:
        """Return what makes the default boxes; the paper's distances between them hold at its own size alone."""
        from torchvision.models.detection.anchor_utils import DefaultBoxGenerator

        generator: nn.Module = DefaultBoxGenerator(self._ratios, scales=self._scales, steps=self._steps if size_hw == self._size_hw else None)
        return generator

    def loss(self, raw: Outputs, objects: Objects, size_hw: tuple[int, int], weights: Mapping[str, float]) -> torch.Tensor:
        """Return cross-entropy with hard negatives (three to an object, so none on an image without objects) and smooth L1 of the boxes."""
        from torchvision.ops import box_iou

        targets, outputs = targets_of(objects, _BACKGROUND), in_float(raw)
        anchors = self.anchors(size_hw, objects.boxes_xyxy.device)
        nothing = torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
        matches = [self.model.proposal_matcher(box_iou(each["boxes"], anchors)) if len(each["boxes"]) else nothing for each in targets]
        parts = self.model.compute_loss(targets, outputs, [anchors] * len(targets), matches)
        weights = {**self.loss_weights, **weights}
        return cast(torch.Tensor, weights["label"] * parts["classification"] + weights["box"] * parts["bbox_regression"])

    def decode(self, raw: Outputs, anchors: torch.Tensor, size_hw: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes and scores of all default boxes."""
        outputs = in_float(raw)
        scores = outputs["cls_logits"].softmax(dim=-1)[..., _BACKGROUND:]
        return decoded(self.model.box_coder.decode_single, outputs["bbox_regression"], anchors, size_hw), scores

    def head_names(self) -> list[str]:
        """Return the names of the parameters of each level's last convolution that names classes."""
        prefix = "model.head.classification_head.module_list"
        last = {name.split(".")[0]: name for name, _ in self.get_submodule(prefix).named_parameters() if name.endswith("weight")}
        return [f"{prefix}.{name.removesuffix('weight')}{kind}" for name in last.values() for kind in ("weight", "bias")]

    def feature_layers(self) -> list[str]:
        """Return the blocks whose outputs are the levels."""
        backbone = self.model.backbone
        first = ["features"] if hasattr(backbone, "scale_weight") else ["features.0", "features.1"]  # VGG, MobileNet
        return [f"model.backbone.{name}" for name in (*first, *(f"extra.{level}" for level in range(len(backbone.extra))))]
