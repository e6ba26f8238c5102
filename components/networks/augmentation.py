"""The random policy on whole batches, on the device they are trained on; every draw comes from one generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from components.datasets.policy import Policy
from components.errors import ConfigError
from components.networks.automatic import automatic
from components.networks.colour import boxes, erase, jitter
from components.networks.geometry import Motion, draw_motion, resample, take

_FLOAT_FIELDS = ("rotate", "shift", "scale", "shear", "brightness", "contrast", "saturation", "hue", "erasing")


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Return images as float32 in 0..1, in the same layout; float images as they are."""
    return images if images.is_floating_point() else images.to(torch.float32).div_(255)


def augment(images_NCHW: torch.Tensor, policy: Policy, generator: torch.Generator) -> torch.Tensor:
    """Apply everything of the policy that changes one image at a time (all but mixup and cutmix).

    Args:
        images_NCHW: uint8, or float in 0..1, on the generator's device.
        policy: What may happen.
        generator: All randomness.

    Returns:
        The images, of the same shape: uint8 if only flips and crops were asked for of uint8 images, else float in 0..1. What comes from
        outside is the image's reflection.
    """
    return _augmented(images_NCHW, policy, generator, None)[0]


def augment_and_tell(images_NCHW: torch.Tensor, policy: Policy, generator: torch.Generator) -> tuple[torch.Tensor, Motion]:
    """Do what `augment` does, and tell how the images moved; what comes from outside is black: a reflection would show unlabelled objects.

    Raises:
        ConfigError: The policy asks for what boxes and masks cannot follow.
    """
    for field in ("auto", "mixup", "cutmix"):
        if getattr(policy, field) != Policy.model_fields[field].default:
            raise ConfigError(f"augment.policy.{field}: found {getattr(policy, field)}; boxes and masks cannot follow it. Leave it out")
    return _augmented(images_NCHW, policy, generator, 0.0)


def _augmented(images_NCHW: torch.Tensor, policy: Policy, generator: torch.Generator, outside: float | None) -> tuple[torch.Tensor, Motion]:
    motion = draw_motion(len(images_NCHW), images_NCHW.shape[2], images_NCHW.shape[3], policy, generator)
    images = take(images_NCHW, motion, outside)
    if policy.auto == "none" and policy.random_resized_crop == 1 and not any(getattr(policy, field) for field in _FLOAT_FIELDS):
        return images, motion
    images = to_float(images)
    if motion.theta is not None:
        images = resample(images, motion.theta, outside="reflection" if outside is None else "zeros")
    images = automatic(images, policy, generator)
    images = jitter(images, policy, generator)
    return erase(images, policy.erasing, generator), motion


@dataclass(frozen=True)
class Mixing:
    """Who was mixed with whom.

    Attributes:
        partner: The other image of the batch, int64 (N,).
        kept: The share of the image itself, float32 (N,).
    """

    partner: torch.Tensor
    kept: torch.Tensor


def mix(images_NCHW: torch.Tensor, policy: Policy, generator: torch.Generator) -> tuple[torch.Tensor, Mixing | None]:
    """Mix each image with another one of the batch: mixup (arXiv:1710.09412), cutmix (arXiv:1905.04899); where both are on, either half of the time.

    Args:
        images_NCHW: uint8 or float in 0..1.
        policy: `mixup` and `cutmix`, each the alpha of a Beta distribution.
        generator: All randomness.

    Returns:
        Images of the same shape (float in 0..1 after mixup), and how they were mixed; None where the policy does not mix.
    """
    if not (policy.mixup or policy.cutmix):
        return images_NCHW, None
    num, device = len(images_NCHW), generator.device
    # torch draws no Beta from a generator of its own
    draws = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator, device=device)))
    cut = not policy.mixup or bool(policy.cutmix and draws.random() < 0.5)
    alpha = policy.cutmix if cut else policy.mixup
    kept = torch.from_numpy(draws.beta(alpha, alpha, num).astype(np.float32)).to(device)
    partner = torch.randperm(num, generator=generator, device=device)
    if cut:
        mask = boxes(num, 1 - kept, images_NCHW.shape[2], images_NCHW.shape[3], generator)
        return torch.where(mask, images_NCHW[partner], images_NCHW), Mixing(partner, 1 - mask.to(torch.float32).mean(dim=(1, 2, 3)))
    images, share = to_float(images_NCHW), kept.view(-1, 1, 1, 1)
    return images * share + images[partner] * (1 - share), Mixing(partner, kept)


def scaled(policy: Policy, strength: float) -> Policy:
    """Return a milder policy.

    Args:
        policy: As chosen.
        strength: 1: as it is; 0: only the flips stay, for they change what is likely, not how hard it is.
    """
    if strength >= 1:
        return policy
    fields = ("crop", "rotate", "shift", "scale", "shear", "brightness", "contrast", "saturation", "hue", "erasing", "mixup", "cutmix")
    changes: dict[str, object] = {field: getattr(policy, field) * strength for field in fields}
    changes["random_resized_crop"] = 1 - (1 - policy.random_resized_crop) * strength
    changes["rand_magnitude"] = round(policy.rand_magnitude * strength)
    if policy.auto == "trivial" and strength < 0.5:  # it has no strength of its own
        changes["auto"] = "none"
    return policy.model_copy(update=changes)
