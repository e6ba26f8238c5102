"""What the detectors of torchvision have in common here.

Of torchvision come networks, anchors, matching and losses; not its resizing and normalisation (images come at the network's size, normalised), and
not the choice of what was found, which stands behind the graph for every detector alike. Parameters have torchvision's names behind ``model.``.

Legend: N images, P anchors of an image, C classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from components.errors import ConfigError
from components.networks.detection.detector import Detector
from components.networks.detection.objects import Objects
from components.networks.first_layer import fit_first_convolution

_SIZE_STEP, _LARGEST = 16, 4096


class TorchvisionDetector(Detector):
    """A detector of torchvision.

    Args:
        model: It; its first layer is made to fit.
        channels: Of the images.
    """

    def __init__(self, model: nn.Module, channels: int) -> None:
        super().__init__()
        self.model: Any = model
        model.transform = nn.Identity()
        if channels != 3:
            fit_first_convolution(model, channels)
        self._channels = channels
        self._level_sizes: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def anchors(self, size_hw: tuple[int, int], device: torch.device | None = None) -> torch.Tensor:
        """Return the anchors, float32 (P, 4) as x0, y0, x1, y1."""
        return generated(self.generator(size_hw), self.level_sizes(size_hw), size_hw, device)

    def generator(self, size_hw: tuple[int, int]) -> nn.Module:  # noqa: ARG002 - some make others for another size
        """Return what makes the anchors of images of this size."""
        return cast(nn.Module, self.model.anchor_generator)

    def level_sizes(self, size_hw: tuple[int, int]) -> list[tuple[int, int]]:
        """Return height and width of the feature maps that the heads read.

        Raises:
            RuntimeError: Images of this size are too small.
        """
        if size_hw not in self._level_sizes:
            shadow = copy.deepcopy(self.model.backbone).to("meta").eval()
            with torch.no_grad():
                levels = shadow(torch.empty(1, self._channels, *size_hw, device="meta"))
            self._level_sizes[size_hw] = [(level.shape[2], level.shape[3]) for level in levels.values()]
        return self._level_sizes[size_hw]

    def check_size(self, name: str, size_hw: tuple[int, int]) -> None:
        """Refuse images that are too small for the last feature map."""
        if not self._fits(min(size_hw)):
            least = next(side for side in range(_SIZE_STEP, _LARGEST, _SIZE_STEP) if self._fits(side))
            raise ConfigError(f"task.image_size: found {min(size_hw)}; {name} takes {least} pixels or more")

    def _fits(self, side: int) -> bool:
        try:
            self.level_sizes((side, side))
        except RuntimeError:
            return False
        return True


def generated(generator: nn.Module, level_sizes: Sequence[tuple[int, int]], size_hw: tuple[int, int], device: torch.device | None) -> torch.Tensor:
    """Return the anchors that one of torchvision's generators makes for feature maps of these sizes, float32 (P, 4)."""
    from torchvision.models.detection.image_list import ImageList

    levels = [torch.empty(1, 0, *size, device=device) for size in level_sizes]
    [anchors] = generator(ImageList(torch.empty(1, 0, *size_hw, device=device), [size_hw]), levels)
    return cast(torch.Tensor, anchors)


def targets_of(objects: Objects, first_label: int = 0) -> list[dict[str, torch.Tensor]]:
    """Return the objects of each image as torchvision takes them: `boxes` (K, 4) and `labels` (K,), the first class being `first_label`."""
    return [
        {"boxes": boxes[present], "labels": labels[present] + first_label}
        for boxes, labels, present in zip(objects.boxes_xyxy, objects.labels, objects.present, strict=True)
    ]


def in_float(outputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a head's outputs in float32, whatever precision they were computed in."""
    return {name: tensor.float() for name, tensor in outputs.items()}


def decoded(read: Callable[..., torch.Tensor], codes: torch.Tensor, anchors: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    """Return the boxes of codes (N, P, 4), cut at the edges of the image.

    Args:
        read: torchvision's: codes (M, 4), anchors (M, 4) → boxes (M, 4).
        codes: What the head says.
        anchors: float32 (P, 4).
        size_hw: Height and width of the images.
    """
    boxes = read(codes.reshape(-1, 4), anchors.repeat(codes.shape[0], 1))
    return clipped(boxes.reshape(codes.shape), size_hw)


def clipped(boxes: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    """Return boxes (…, 4) cut at the edges of the image."""
    height, width = size_hw
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)


def resnet_fpn(name: str, **arguments: Any) -> nn.Module:
    """Return a ResNet with a feature pyramid (Lin et al. 2017, arXiv:1612.03144) behind it, all of it to be trained."""
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    backbone: nn.Module = resnet_fpn_backbone(backbone_name=name, weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5, **arguments)
    return backbone
