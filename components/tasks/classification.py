"""One class an image. A target is a class index, a prediction the probabilities (C,) float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from components.augmentation.mixing import mix
from components.augmentation.random_policy import augment, refuse, to_float
from components.datasets.policy import Policy
from components.errors import ConfigError, unknown_name
from components.networks.classification.models import build, head_names, model_names
from components.networks.structure import as_in
from components.records import ModelSpec, Preprocess
from components.serving.postprocess import classification as served


class MixedLabels(NamedTuple):
    """Labels of images that were mixed: class indices (N,), those of the partners (N,), the share of the first (N,)."""

    labels: torch.Tensor
    partners: torch.Tensor
    kept: torch.Tensor


Labels = torch.Tensor | MixedLabels

_CANNOT_FOLLOW = dict.fromkeys(("mosaic", "copy_paste"), "an image has one class, or two after mixup and cutmix")


class DeployGraph(nn.Module):
    """images_NHWC uint8 → logits (N, C) float32."""

    output_names = ("logits",)

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_NHWC: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        images_NCHW = images_NHWC.permute(0, 3, 1, 2).to(torch.float32) / 255
        return cast(torch.Tensor, self.model(images_NCHW))


class Classification:
    """The task `classification`."""

    name = "classification"
    postprocess = served.plugin
    size_step = 4

    def model_names(self) -> Sequence[str]:
        """Return the names of the networks."""
        return model_names()

    def build_model(self, spec: ModelSpec) -> nn.Module:
        """Return the network with random weights, of the spec's structure if it was pruned."""
        return as_in(spec, build(spec.model, len(spec.classes), spec.preprocess.channels, spec.preprocess.size_hw, spec.model_options))

    def head_names(self, model: nn.Module) -> list[str]:
        """Return the names of the last layer's parameters."""
        return head_names(model)

    def place(
        self,
        targets: Sequence[int],
        sizes_hw: Sequence[tuple[int, int]],  # noqa: ARG002 - the seam's signature
        preprocess: Preprocess,  # noqa: ARG002
    ) -> Sequence[int]:
        """Return the targets: they know no pixels."""
        return targets

    def collate(self, targets: Sequence[int], device: torch.device) -> torch.Tensor:
        """Return class indices int64 (N,)."""
        return torch.as_tensor(np.asarray(targets, dtype=np.int64)).to(device, non_blocking=True)

    def separate(self, targets: Labels) -> Sequence[int]:
        """Return the class index of each image; of a mixed one that of the image itself."""
        return [int(label) for label in (targets.labels if isinstance(targets, MixedLabels) else targets)]

    def augment(self, images_NCHW: torch.Tensor, targets: torch.Tensor, policy: Policy, generator: torch.Generator) -> tuple[torch.Tensor, Labels]:
        """Apply the random policy; labels of mixed images become `MixedLabels`."""
        refuse(policy, _CANNOT_FOLLOW)
        images, mixing = mix(augment(images_NCHW, policy, generator), policy, generator)
        if mixing is None:
            return images, targets
        return images, MixedLabels(targets, targets[mixing.partner], mixing.kept)

    def rescale(self, targets: Labels, from_hw: tuple[int, int], to_hw: tuple[int, int]) -> Labels:  # noqa: ARG002 - the seam's signature
        """Return the targets: they know no pixels."""
        return targets

    def loss_options(self, settings: Mapping[str, Any], targets: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
        """Return label smoothing and the class weights (C,), whose mean over the training images is one.

        Raises:
            ConfigError: `class_weights` names an unknown class, gives a negative weight or lets all weigh nothing, or `loss` is set.
        """
        if settings["loss"]:
            raise ConfigError(f"loss: found {dict(settings['loss'])}; classification has one loss, cross-entropy. Leave it out")
        wanted = settings["class_weights"]
        counts = np.bincount(np.asarray(targets, dtype=np.int64), minlength=len(classes)).astype(np.float64)
        weights: torch.Tensor | None = None
        if wanted != "none":
            values = counts.sum() / np.maximum(counts, 1) if wanted == "balanced" else _named_weights(wanted, classes)
            if not (values * counts).any():
                raise ConfigError(f"class_weights: found {wanted}; every class with training images weighs nothing. Give one a weight above 0")
            weights = torch.tensor(values * counts.sum() / (values * counts).sum(), dtype=torch.float32)
        return {"label_smoothing": settings["label_smoothing"], "class_weights": weights}

    def loss(self, model: nn.Module, images_NCHW: torch.Tensor, targets: Labels, options: Mapping[str, Any]) -> torch.Tensor:
        """Return the mean cross-entropy, each image with the weight of its class."""
        return _cross_entropy(cast(torch.Tensor, model(images_NCHW)).float(), targets, options)

    def distillation_losses(
        self, model: nn.Module, teacher: nn.Module, images_NCHW: torch.Tensor, targets: Labels, options: Mapping[str, Any], temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the cross-entropy, and the Kullback-Leibler divergence of the softened probabilities times the temperature squared."""
        with torch.no_grad():
            taught = cast(torch.Tensor, teacher(images_NCHW)).float()
        logits = cast(torch.Tensor, model(images_NCHW)).float()
        ours, theirs = (functional.log_softmax(outputs / temperature, dim=1) for outputs in (logits, taught))
        divergence = functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        return _cross_entropy(logits, targets, options), divergence * temperature**2

    def predict(self, model: nn.Module, images_NCHW: torch.Tensor) -> list[Any]:
        """Return the class probabilities of each image, float32 (C,)."""
        logits = cast(torch.Tensor, model(to_float(images_NCHW))).float()
        return list(logits.softmax(dim=1).detach().cpu().numpy())

    def deploy_graph(self, model: nn.Module, spec: ModelSpec) -> nn.Module:  # noqa: ARG002 - other tasks need the spec
        """Return images_NHWC uint8 → `logits` (N, C)."""
        return DeployGraph(model).eval()


def _cross_entropy(logits: torch.Tensor, targets: Labels, options: Mapping[str, Any]) -> torch.Tensor:
    weights, smoothing = options["class_weights"], options["label_smoothing"]
    if weights is not None:
        weights = weights.to(logits.device)
    if isinstance(targets, MixedLabels):
        losses = [
            functional.cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing, reduction="none")
            for labels in (targets.labels, targets.partners)
        ]
        return (losses[0] * targets.kept + losses[1] * (1 - targets.kept)).mean()
    if weights is not None:  # divided by the images, not by their weights: a batch of one class still weighs as it should
        return functional.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing, reduction="sum") / len(logits)
    return functional.cross_entropy(logits, targets, label_smoothing=smoothing)


def _named_weights(wanted: Mapping[str, float], classes: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    for name, weight in wanted.items():
        if name not in classes:
            raise unknown_name("class in class_weights", name, classes)
        if weight < 0:
            raise ConfigError(f"class_weights: {name}: found {weight:g}; a weight is zero or more")
    return np.array([wanted.get(name, 1.0) for name in classes], dtype=np.float64)


plugin = Classification()
