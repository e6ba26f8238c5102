"""Boxes with a class. A target is `Truth`, a prediction `Detections`; in training both are in the network's pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from components.datasets.annotations import Truth
from components.datasets.policy import Policy
from components.errors import ConfigError, unknown_name
from components.networks.augmentation import augment_and_tell, to_float
from components.networks.detection import objects
from components.networks.detection.assignment import LOSS_WEIGHTS, loss
from components.networks.detection.models import NAMES, build
from components.networks.detection.objects import Objects
from components.networks.detection.yolo import Raw, decode, points
from components.networks.structure import as_in
from components.records import ModelSpec, Preprocess
from components.serving.image import placement
from components.serving.postprocess import detection as served


class DeployGraph(nn.Module):
    """images_NHWC uint8 → boxes (N, P, 4) in the network's pixels, scores (N, P, C) in 0..1; what stays of them is decided behind it."""

    output_names = ("boxes", "scores")
    centres: torch.Tensor
    strides: torch.Tensor

    def __init__(self, model: nn.Module, size_hw: tuple[int, int]) -> None:
        super().__init__()
        self.model = model
        centres, strides = points(*size_hw)
        self.register_buffer("centres", centres)
        self.register_buffer("strides", strides)

    def forward(self, images_NHWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes and scores of all points."""
        raw = cast(Raw, self.model(images_NHWC.permute(0, 3, 1, 2).to(torch.float32) / 255))
        return decode(raw.distances, self.centres, self.strides), raw.logits.sigmoid()


class Detection:
    """The task `detection`."""

    name = "detection"
    postprocess = served.plugin

    def model_names(self) -> Sequence[str]:
        """Return the names of the networks."""
        return NAMES

    def build_model(self, spec: ModelSpec) -> nn.Module:
        """Return the network with random weights, of the spec's structure if it was pruned."""
        return as_in(spec, build(spec.model, len(spec.classes), spec.preprocess.channels, spec.preprocess.size_hw, spec.model_options))

    def head_names(self, model: nn.Module) -> list[str]:
        """Return the names of the parameters of each level's last layer that names classes."""
        prefixes = [f"network.heads.{level}.label.2" for level in range(len(cast(Any, model).network.heads))]
        return [f"{prefix}.{name}" for prefix in prefixes for name, _ in model.get_submodule(prefix).named_parameters()]

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
        images, motion = augment_and_tell(images_NCHW, policy, generator)
        return images, objects.moved(targets, motion, images_NCHW.shape[2], images_NCHW.shape[3])

    def loss_options(self, settings: Mapping[str, Any], targets: Sequence[Truth], classes: Sequence[str]) -> dict[str, Any]:  # noqa: ARG002 - the seam's signature
        """Return what the two parts of the loss weigh, `label` and `box`.

        Raises:
            ConfigError: `loss` names another part, or a setting is made that detection has no use for.
        """
        for name, default in (("label_smoothing", 0.0), ("class_weights", "none")):
            if settings[name] != default:
                raise ConfigError(f"{name}: found {settings[name]}; detection knows none: how surely a point names its class is learnt. Leave it out")
        for name in settings["loss"]:
            if name not in LOSS_WEIGHTS:
                raise unknown_name("part of the loss", name, LOSS_WEIGHTS)
        return {**LOSS_WEIGHTS, **settings["loss"]}

    def loss(self, model: nn.Module, images_NCHW: torch.Tensor, targets: Objects, options: Mapping[str, Any]) -> torch.Tensor:
        """Return the sum of how wrongly points name their classes and box their objects."""
        return loss(cast(Raw, model(images_NCHW)), targets, (images_NCHW.shape[2], images_NCHW.shape[3]), options)

    def predict(self, model: nn.Module, images_NCHW: torch.Tensor) -> list[Any]:
        """Return the detections of each image in the network's pixels."""
        images = to_float(images_NCHW)
        raw = cast(Raw, model(images))
        centres, strides = points(images.shape[2], images.shape[3], device=images.device)
        boxes, scores = decode(raw.distances.float(), centres, strides), raw.logits.float().sigmoid()
        return self.postprocess.predictions({"boxes": boxes.cpu().numpy(), "scores": scores.cpu().numpy()})

    def deploy_graph(self, model: nn.Module, spec: ModelSpec) -> nn.Module:
        """Return images_NHWC uint8 → `boxes` (N, P, 4), `scores` (N, P, C)."""
        return DeployGraph(model, spec.preprocess.size_hw).eval()


plugin = Detection()
