"""A class for each pixel. A target and a prediction are masks, uint8 (H, W) of class indices; 255 in a target teaches and judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from components.augmentation.geometry import move_masks
from components.augmentation.mixing import draw_mosaic, mix, mosaic_images, mosaic_masks, paste_classes
from components.augmentation.random_policy import augment_and_tell, refuse, to_float
from components.datasets.masks import IGNORE, Mask
from components.datasets.policy import Policy
from components.errors import ConfigError, unknown_name
from components.networks.segmentation.losses import LOSSES, loss
from components.networks.segmentation.models import NAMES, build, head_names
from components.networks.structure import as_in
from components.records import ModelSpec, Preprocess
from components.serving.image import fit_mask
from components.serving.postprocess import segmentation as served

#: Pixels of images that are predicted at once: each takes a number for every class.
_PIXELS_AT_ONCE = 2**22

_CANNOT_FOLLOW = {
    "auto": "boxes and masks cannot follow it",
    "mixup": "a pixel has one class, and a blend of two images two; cutmix and copy_paste leave each pixel its own",
}


class DeployGraph(nn.Module):
    """images_NHWC uint8 → mask (N, H, W) uint8, the likeliest class of each pixel."""

    output_names = ("mask",)

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_NHWC: torch.Tensor) -> torch.Tensor:
        """Return the masks."""
        logits = cast(torch.Tensor, self.model(images_NHWC.permute(0, 3, 1, 2).to(torch.float32) / 255))
        return logits.argmax(dim=1).to(torch.uint8)


class Segmentation:
    """The task `segmentation`."""

    name = "segmentation"
    postprocess = served.plugin
    size_step = 4

    def model_names(self) -> Sequence[str]:
        """Return the names of the networks."""
        return NAMES

    def build_model(self, spec: ModelSpec) -> nn.Module:
        """Return the network with random weights, of the spec's structure if it was pruned."""
        return as_in(spec, build(spec.model, len(spec.classes), spec.preprocess.channels, spec.preprocess.size_hw, spec.model_options))

    def head_names(self, model: nn.Module) -> list[str]:
        """Return the names of the parameters that have a row for each class."""
        return [f"network.{name}" for name in head_names(cast(nn.Module, model.network))]

    def place(self, targets: Sequence[Mask], sizes_hw: Sequence[tuple[int, int]], preprocess: Preprocess) -> Sequence[Mask]:  # noqa: ARG002 - a mask has its image's size
        """Return the masks at the network's size, each pixel with the value of the nearest."""
        return [fit_mask(mask, preprocess) for mask in targets]

    def collate(self, targets: Sequence[Mask], device: torch.device) -> torch.Tensor:
        """Return masks int64 (N, H, W)."""
        return torch.from_numpy(np.stack(targets)).to(device, non_blocking=True).long()

    def separate(self, targets: torch.Tensor) -> Sequence[Mask]:
        """Return one mask an image, uint8 (H, W)."""
        return list(targets.to(torch.uint8).cpu().numpy())

    def augment(
        self, images_NCHW: torch.Tensor, targets: torch.Tensor, policy: Policy, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the random policy; masks move with their images, what comes from outside is not judged."""
        refuse(policy, _CANNOT_FOLLOW)
        mosaic = draw_mosaic(len(images_NCHW), images_NCHW.shape[2], images_NCHW.shape[3], policy.mosaic, generator)
        images, motion = augment_and_tell(mosaic_images(images_NCHW, mosaic), policy, generator)
        masks = move_masks(mosaic_masks(targets, mosaic), motion, IGNORE)
        images, mixing = mix(images, policy, generator)
        if mixing is not None and mixing.taken is not None:
            masks = torch.where(mixing.taken[:, 0], masks[mixing.partner], masks)
        return paste_classes(images, masks, policy.copy_paste, IGNORE, generator)

    def rescale(self, targets: torch.Tensor, from_hw: tuple[int, int], to_hw: tuple[int, int]) -> torch.Tensor:  # noqa: ARG002 - the seam's signature
        """Return the masks at the other size, each pixel with the value of the nearest."""
        return functional.interpolate(targets[:, None].float(), to_hw, mode="nearest-exact")[:, 0].to(targets.dtype)

    def loss_options(self, settings: Mapping[str, Any], targets: Sequence[Mask], classes: Sequence[str]) -> dict[str, Any]:
        """Return what each loss weighs (cross-entropy alone where nothing is said), and the class weights (C,), whose mean over the pixels is one.

        Raises:
            ConfigError: `loss` or `class_weights` names what there is not, all weigh nothing, or labels are to be smoothed.
        """
        if settings["label_smoothing"]:
            raise ConfigError(f"label_smoothing: found {settings['label_smoothing']:g}; segmentation knows none. Leave it out")
        weights = dict(settings["loss"]) or {"cross_entropy": 1.0}
        for name in weights:
            if name not in LOSSES:
                raise unknown_name("part of the loss", name, LOSSES)
        if not any(weights.values()):
            raise ConfigError("loss: all parts weigh 0; nothing would be learnt")
        return {"weights": weights, "class_weights": _class_weights(settings["class_weights"], targets, classes)}

    def loss(self, model: nn.Module, images_NCHW: torch.Tensor, targets: torch.Tensor, options: Mapping[str, Any]) -> torch.Tensor:
        """Return the sum of the losses that were asked for.

        Raises:
            ConfigError: The batch is too small for batch normalisation.
        """
        weights = options["class_weights"]
        try:
            logits = cast(torch.Tensor, model(images_NCHW))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ConfigError(f"batch_size: found {len(images_NCHW)}; this network normalises over the batch, give it at least 2 images") from None
        return loss(logits, targets, options["weights"], None if weights is None else weights.to(images_NCHW.device))

    def predict(self, model: nn.Module, images_NCHW: torch.Tensor) -> list[Any]:
        """Return the mask of each image at the network's size, uint8 (H, W)."""
        masks: list[Mask] = []
        count = max(1, _PIXELS_AT_ONCE // (images_NCHW.shape[2] * images_NCHW.shape[3]))
        for first in range(0, len(images_NCHW), count):
            logits = cast(torch.Tensor, model(to_float(images_NCHW[first : first + count])))
            masks += list(logits.argmax(dim=1).to(torch.uint8).cpu().numpy())
        return masks

    def deploy_graph(self, model: nn.Module, spec: ModelSpec) -> nn.Module:  # noqa: ARG002 - other tasks need the spec
        """Return images_NHWC uint8 → `mask` (N, H, W) uint8."""
        return DeployGraph(model).eval()


def _class_weights(wanted: str | Mapping[str, float], targets: Sequence[Mask], classes: Sequence[str]) -> torch.Tensor | None:
    if wanted == "none":
        return None
    counts = np.zeros(256)
    for mask in targets:
        counts += np.bincount(mask.ravel(), minlength=256)
    counts = counts[: len(classes)]
    if isinstance(wanted, str):  # balanced
        values = counts.sum() / np.maximum(counts, 1)
    else:
        for name, weight in wanted.items():
            if name not in classes:
                raise unknown_name("class in class_weights", name, classes)
            if weight < 0:
                raise ConfigError(f"class_weights: {name}: found {weight:g}; a weight is zero or more")
        values = np.array([wanted.get(name, 1.0) for name in classes])
    if not (values * counts).any():
        raise ConfigError(f"class_weights: found {wanted}; every class with training pixels weighs nothing. Give one a weight above 0")
    return torch.tensor(values * counts.sum() / (values * counts).sum(), dtype=torch.float32)


plugin = Segmentation()
