"""Faster R-CNN of torchvision (Ren et al. 2015, arXiv:1506.01497) on a feature pyramid: proposals first, then what they show.

torchvision's own inference goes image by image and keeps as many proposals as there happen to be, which no exporter can write down. `decode` does
the same on a whole batch: one suppression for all images and levels, whose boxes are moved apart; of what it keeps the surest of each image are
taken, and where there are fewer, the rest is there but counts for nothing; every proposal is read from every level, and that of its size is chosen.

Legend: N images, P anchors of an image, K candidates and R proposals of an image, C classes, L levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple, cast

import torch
from torch import nn

from components.networks.detection._torchvision import TorchvisionDetector, clipped, resnet_fpn, targets_of
from components.networks.detection.objects import Objects

_BACKGROUND = 1
#: Sides of the anchors in pixels, and their heights over their widths.
_SIDES, _RATIOS = (32, 64, 128, 256, 512), (0.5, 1.0, 2.0)
#: A proposal this many pixels wide and high is read from this level: equation 1 of arXiv:1612.03144.
_CANONICAL_SIDE, _CANONICAL_LEVEL = 224, 4
_TINY = 1e-6


class Raw(NamedTuple):
    """What the network says before anything is proposed.

    Attributes:
        levels: Feature maps, float (N, 256, h, w) each, by name.
        objectness: Logits of the anchors of each level, float (N, A, h, w).
        deltas: Their codes, float (N, 4·A, h, w).
    """

    levels: dict[str, torch.Tensor]
    objectness: list[torch.Tensor]
    deltas: list[torch.Tensor]


class FasterRCNN(TorchvisionDetector):
    """The detector; each proposal counts with the box of its likeliest class.

    Args:
        num_classes: C.
        channels: Of the images.
        backbone: A ResNet's name, or ``mobilenet_v3_large``.
        anchor_scale: By which the sides of the anchors, 32 to 512 pixels, are multiplied.
        proposals: How many of an image are looked at when it is not learning: 300 in the paper, 1000 in torchvision.
        samples: How many of an image are learnt from, a quarter of them on objects if there are as many: 512 in arXiv:1612.03144. Most of what a
            step takes is theirs where images are small.
    """

    variants: ClassVar = {f"fasterrcnn_{backbone}_fpn": {"backbone": backbone} for backbone in ("mobilenet_v3_large", "resnet18", "resnet50")}

    def __init__(self, num_classes: int, channels: int, backbone: str, anchor_scale: float = 1.0, proposals: int = 300, samples: int = 512) -> None:
        from torchvision.models import detection
        from torchvision.models.detection.anchor_utils import AnchorGenerator

        sides = tuple(side * anchor_scale for side in _SIDES)
        mobile = backbone == "mobilenet_v3_large"
        pyramid, least_score = (_mobilenet_fpn(), 0.05) if mobile else (resnet_fpn(backbone), 0.0)
        by_level = (sides,) * 3 if mobile else tuple((side,) for side in sides)
        generator = AnchorGenerator(by_level, (_RATIOS,) * len(by_level))
        network = detection.FasterRCNN(
            pyramid,
            num_classes + _BACKGROUND,
            rpn_anchor_generator=generator,
            rpn_score_thresh=least_score,
            box_batch_size_per_image=samples,
        )
        super().__init__(network, channels)
        self._num_proposals = proposals

    def forward(self, images_NCHW: torch.Tensor) -> Raw:
        """Return the feature maps, and what the first stage says of them."""
        levels = self.model.backbone(images_NCHW)
        objectness, deltas = self.model.rpn.head(list(levels.values()))
        return Raw(dict(levels), objectness, deltas)

    def generator(self, size_hw: tuple[int, int]) -> nn.Module:  # noqa: ARG002
        """Return what makes the anchors."""
        return cast(nn.Module, self.model.rpn.anchor_generator)

    def loss(self, raw: Raw, objects: Objects, size_hw: tuple[int, int], weights: Mapping[str, float]) -> torch.Tensor:
        """Return the losses of both stages: cross-entropy of the classes, smooth L1 of the boxes."""
        targets = targets_of(objects, _BACKGROUND)
        rpn, heads, sizes = self.model.rpn, self.model.roi_heads, [size_hw] * len(targets)
        rpn.training = heads.training = True  # they hold nothing else that knows a mode; in another they give no losses
        anchors = [self.anchors(size_hw, objects.boxes_xyxy.device)] * len(targets)
        objectness, deltas = _by_anchor(raw)
        reached = rpn.box_coder.decode(deltas.detach(), anchors).view(len(targets), -1, 4)
        proposals, _ = rpn.filter_proposals(reached, objectness, sizes, _counts(raw))
        labels, boxes = rpn.assign_targets_to_anchors(anchors, targets)
        of_objects, of_proposals = rpn.compute_loss(objectness, deltas, labels, rpn.box_coder.encode(boxes, anchors))
        _, parts = heads({name: level.float() for name, level in raw.levels.items()}, proposals, sizes, targets)
        weights = {**self.loss_weights, **weights}
        label, box = of_objects + parts["loss_classifier"], of_proposals + parts["loss_box_reg"]
        return cast(torch.Tensor, weights["label"] * label + weights["box"] * box)

    def decode(self, raw: Raw, anchors: torch.Tensor, size_hw: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes and scores of R proposals; those that are none have scores of 0."""
        heads = self.model.roi_heads
        proposals, there = self.proposals(raw, anchors, size_hw)
        num_images, num_proposals = proposals.shape[:2]
        logits, codes = heads.box_predictor(heads.box_head(self.pooled(raw.levels, proposals, size_hw)))
        scores = logits.float().softmax(dim=-1)[:, _BACKGROUND:]
        own = (scores.argmax(dim=1) + _BACKGROUND)[:, None, None].expand(-1, 1, 4)
        codes = codes.float().unflatten(1, (-1, 4)).gather(1, own)[:, 0]
        boxes = heads.box_coder.decode_single(codes, proposals.flatten(0, 1)).view(num_images, num_proposals, 4)
        return clipped(boxes, size_hw), scores.view(num_images, num_proposals, -1) * there[..., None]

    def proposals(self, raw: Raw, anchors: torch.Tensor, size_hw: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return where objects may be: boxes in pixels (N, R, 4), the surest first, and which of them there are, bool (N, R), the rest being 0."""
        from torchvision.ops import nms

        rpn = self.model.rpn
        objectness, deltas = _by_anchor(raw)
        objectness, deltas = objectness.view(-1, len(anchors)), deltas.view(-1, len(anchors), 4)
        tops, starts, counts = [], 0, _counts(raw)
        for count, logits in zip(counts, torch.split(objectness, counts, dim=1), strict=True):
            tops.append(logits.topk(min(count, rpn._pre_nms_top_n["testing"]), dim=1).indices + starts)
            starts += count
        top = torch.cat(tops, dim=1)
        level = torch.cat([torch.full_like(each[0], number) for number, each in enumerate(tops)])
        scores = objectness.gather(1, top).sigmoid()
        codes = deltas.gather(1, top[..., None].expand(-1, -1, 4))
        boxes = clipped(rpn.box_coder.decode_single(codes.flatten(0, 1), anchors[top].flatten(0, 1)).view(codes.shape), size_hw)
        apart = (torch.arange(top.shape[0], device=top.device)[:, None] * len(tops) + level) * (max(size_hw) + 1.0)
        kept = nms((boxes + apart[..., None]).flatten(0, 1), scores.flatten(), rpn.nms_thresh)
        stays = torch.zeros_like(scores).flatten().index_fill(0, kept, 1.0).view(scores.shape) > 0
        stays &= ((boxes[..., 2:] - boxes[..., :2]) >= rpn.min_size).all(dim=-1) & (scores >= rpn.score_thresh)
        best = torch.where(stays, scores, -1.0).topk(min(self._num_proposals, top.shape[1]), dim=1)
        there = best.values >= 0
        return boxes.gather(1, best.indices[..., None].expand(-1, -1, 4)) * there[..., None], there

    def pooled(self, levels: Mapping[str, torch.Tensor], proposals: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
        """Return what lies under the proposals (N, R, 4), each read from the level of its size, float (N·R, 256, 7, 7)."""
        from torchvision.ops import roi_align

        pool = self.model.roi_heads.box_roi_pool
        image = torch.arange(proposals.shape[0], device=proposals.device, dtype=proposals.dtype)[:, None, None]
        regions = torch.cat([image.expand(-1, proposals.shape[1], 1), proposals], dim=2).flatten(0, 1)
        read = [levels[name].float() for name in pool.featmap_names if name in levels]
        powers = [round(math.log2(level.shape[2] / size_hw[0])) for level in read]
        areas = ((regions[:, 3] - regions[:, 1]) * (regions[:, 4] - regions[:, 2])).clamp(min=1.0)  # none has 0, whose logarithm no eight bits hold
        wanted = torch.floor(_CANONICAL_LEVEL + torch.log2(areas.sqrt() / _CANONICAL_SIDE) + _TINY).clamp(-powers[0], -powers[-1]) + powers[0]
        shown = [roi_align(level, regions, pool.output_size, 2.0**power, pool.sampling_ratio) for level, power in zip(read, powers, strict=True)]
        found: torch.Tensor = shown[0]
        for number, here in enumerate(shown[1:], start=1):
            found = torch.where((wanted == number)[:, None, None, None], here, found)
        return found

    def head_names(self) -> list[str]:
        """Return the names of the parameters of the layer that names classes."""
        return [f"model.roi_heads.box_predictor.cls_score.{kind}" for kind in ("weight", "bias")]

    def feature_layers(self) -> list[str]:
        """Return the pyramid's last convolutions."""
        return [f"model.backbone.fpn.layer_blocks.{level}" for level in range(len(self.model.backbone.fpn.layer_blocks))]


def _mobilenet_fpn() -> nn.Module:
    from torchvision.models.detection.backbone_utils import mobilenet_backbone

    backbone: nn.Module = mobilenet_backbone(
        backbone_name="mobilenet_v3_large", weights=None, fpn=True, norm_layer=nn.BatchNorm2d, trainable_layers=6
    )
    return backbone


def _by_anchor(raw: Raw) -> tuple[torch.Tensor, torch.Tensor]:
    """Return objectness (N·P, 1) and codes (N·P, 4), float32."""
    from torchvision.models.detection.rpn import concat_box_prediction_layers

    objectness, deltas = concat_box_prediction_layers(raw.objectness, raw.deltas)
    return objectness.float(), deltas.float()


def _counts(raw: Raw) -> list[int]:
    """Return the anchors of each level."""
    return [each.shape[1] * each.shape[2] * each.shape[3] for each in raw.objectness]
