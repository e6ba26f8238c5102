"""Boxes with a class. A target is `Truth`, a prediction `Detections`; in training both are in the network's pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from components.augmentation.mixing import draw_mosaic, mix, mosaic_images
from components.augmentation.random_policy import augment_and_tell, refuse, to_float
from components.datasets.annotations import Truth
from components.datasets.policy import Policy
from components.errors import ConfigError, unknown_name
from components.networks.detection import objects
from components.networks.detection.detector import Detector
from components.networks.detection.models import NAMES, build
from components.networks.detection.objects import Objects
from components.networks.structure import as_in
from components.records import ModelSpec, Preprocess
from components.serving.image import placement
from components.serving.postprocess import detection as served

#: Parts of the loss that every detector has.
LOSS_PARTS = ("box", "label")
#: Pixels of images that are predicted at once: what a detector says of each of its points takes much memory.
_PIXELS_AT_ONCE = 2**23

_CANNOT_FOLLOW = {
    "auto": "boxes and masks cannot follow it",
    "cutmix": "boxes cannot follow it: what it leaves of an object need not be a box; mosaic shows parts of several images",
    "copy_paste": "a box also holds what is behind and beside its object, which would come along without a label; mosaic and mixup need no outlines",
}


class DeployGraph(nn.Module):
    """images_NHWC uint8 → boxes (N, P, 4) in the network's pixels, scores (N, P, C) in 0..1; what stays of them is decided behind it."""

    output_names = ("boxes", "scores")
    anchors: torch.Tensor

    def __init__(self, model: nn.Module, size_hw: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.size_hw = model, size_hw
        self.register_buffer("anchors", _detector(model).anchors(size_hw))

    def forward(self, images_NHWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes and scores of all points."""
        raw = self.model(images_NHWC.permute(0, 3, 1, 2).to(torch.float32) / 255)
        return _detector(self.model).decode(raw, self.anchors, self.size_hw)


class Detection:
    """The task `detection`."""

    name = "detection"
    postprocess = served.plugin
    size_step = 32

    def model_names(self) -> Sequence[str]:
        """Return the names of the networks."""
        return NAMES

    def build_model(self, spec: ModelSpec) -> nn.Module:
        """Return the network with random weights, of the spec's structure if it was pruned."""
        return as_in(spec, build(spec.model, len(spec.classes), spec.preprocess.channels, spec.preprocess.size_hw, spec.model_options))

    def head_names(self, model: nn.Module) -> list[str]:
        """Return the names of the parameters that have rows for each class."""
        return [f"network.{name}" for name in _detector(model).head_names()]

    def place(self, targets: Sequence[Truth], sizes_hw: Sequence[tuple[int, int]], preprocess: Preprocess) -> Sequence[Truth]:
        """Return the boxes in the network's pixels; of those that `crop` cuts away the ones are dropped of which little is left."""
        placed = []
        for truth, size_hw in zip(targets, sizes_hw, strict=True):
            boxes = torch.from_numpy(placement(size_hw, preprocess).forward(truth.boxes_xyxy))[None]
            whole = Objects(boxes, torch.zeros(boxes.shape[:2]), torch.ones(boxes.shape[:2], dtype=torch.bool))
            left = objects.cut(whole, *preprocess.size_hw)
            kept = left.present[0].numpy()
            placed.append(Truth(left.boxes_xyxy[0].numpy()[kept], truth.labels[kept], truth.ignore[kept]))
        return placed

    def collate(self, targets: Sequence[Truth], device: torch.device) -> Objects:
        """Return the objects of the batch, those to be ignored left out."""
        boxes = [torch.from_numpy(truth.boxes_xyxy[~truth.ignore]).float() for truth in targets]
        return objects.padded(boxes, [torch.from_numpy(truth.labels[~truth.ignore]) for truth in targets], device)

    def separate(self, targets: Objects) -> Sequence[Truth]:
        """Return what is on each image."""
        boxes, labels, present = (tensor.cpu().numpy() for tensor in targets)
        return [
            Truth(boxes[number][kept].astype(np.float64), labels[number][kept], np.zeros(int(kept.sum()), dtype=np.bool_))
            for number, kept in enumerate(present)
        ]

    def augment(self, images_NCHW: torch.Tensor, targets: Objects, policy: Policy, generator: torch.Generator) -> tuple[torch.Tensor, Objects]:
        """Apply the random policy; boxes enclose what their objects became, those of which little is left are dropped."""
        refuse(policy, _CANNOT_FOLLOW)
        height, width = images_NCHW.shape[2:]
        mosaic = draw_mosaic(len(images_NCHW), height, width, policy.mosaic, generator)
        images, motion = augment_and_tell(mosaic_images(images_NCHW, mosaic), policy, generator)
        found = objects.moved(objects.in_mosaic(targets, mosaic), motion, height, width)
        images, mixing = mix(images, policy, generator)
        return images, objects.mixed(found, mixing)

    def rescale(self, targets: Objects, from_hw: tuple[int, int], to_hw: tuple[int, int]) -> Objects:
        """Return the objects with their boxes at the other size."""
        scale = torch.tensor([to_hw[1] / from_hw[1], to_hw[0] / from_hw[0]] * 2, device=targets.boxes_xyxy.device)
        return targets._replace(boxes_xyxy=targets.boxes_xyxy * scale)

    def loss_options(self, settings: Mapping[str, Any], targets: Sequence[Truth], classes: Sequence[str]) -> dict[str, Any]:  # noqa: ARG002 - the seam's signature
        """Return what the parts `label` and `box` of the loss weigh, where they are set; the detector knows what else they do.

        Raises:
            ConfigError: `loss` names another part, or a setting is made that detection has no use for.
        """
        for name, default in (("label_smoothing", 0.0), ("class_weights", "none")):
            if settings[name] != default:
                raise ConfigError(f"{name}: found {settings[name]}; detection knows none: how surely a point names its class is learnt. Leave it out")
        for name in settings["loss"]:
            if name not in LOSS_PARTS:
                raise unknown_name("part of the loss", name, LOSS_PARTS)
        return dict(settings["loss"])

    def loss(self, model: nn.Module, images_NCHW: torch.Tensor, targets: Objects, options: Mapping[str, Any]) -> torch.Tensor:
        """Return the sum of how wrongly the network names and boxes the objects."""
        return _detector(model).loss(model(images_NCHW), targets, (images_NCHW.shape[2], images_NCHW.shape[3]), options)

    def predict(self, model: nn.Module, images_NCHW: torch.Tensor) -> list[Any]:
        """Return the detections of each image in the network's pixels."""
        detector, size_hw = _detector(model), (images_NCHW.shape[2], images_NCHW.shape[3])
        anchors = detector.anchors(size_hw, images_NCHW.device)
        count = max(1, _PIXELS_AT_ONCE // (size_hw[0] * size_hw[1]))
        predictions: list[Any] = []
        for first in range(0, len(images_NCHW), count):
            boxes, scores = detector.decode(model(to_float(images_NCHW[first : first + count])), anchors, size_hw)
            predictions += self.postprocess.predictions({"boxes": boxes.cpu().numpy(), "scores": scores.cpu().numpy()})
        return predictions

    def deploy_graph(self, model: nn.Module, spec: ModelSpec) -> nn.Module:
        """Return images_NHWC uint8 → `boxes` (N, P, 4), `scores` (N, P, C)."""
        return DeployGraph(model, spec.preprocess.size_hw).eval()


def _detector(model: nn.Module) -> Detector:
    """Return the network behind its normalisation."""
    return cast(Detector, model.network)


plugin = Detection()
