"""The random policy on whole batches, on the device they are trained on; every draw comes from one generator."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from components.augmentation.automatic import automatic
from components.augmentation.colour import erase, jitter, to_float
from components.augmentation.geometry import Motion, draw_motion, resample, take
from components.datasets.policy import Policy
from components.errors import ConfigError

__all__ = ["augment", "augment_and_tell", "refuse", "scaled", "to_float", "unmixed"]

_FLOAT_FIELDS = ("rotate", "shift", "scale", "shear", "brightness", "contrast", "saturation", "hue", "erasing")
_MIXING_FIELDS = ("mixup", "cutmix", "mosaic", "copy_paste")


def augment(images_NCHW: torch.Tensor, policy: Policy, generator: torch.Generator) -> torch.Tensor:
    """Apply everything of the policy that changes one image at a time (all but `augmentation.mixing`).

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
    """Do what `augment` does, and tell how the images moved; what comes from outside is black: a reflection would show unlabelled objects."""
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


def refuse(policy: Policy, reasons: Mapping[str, str]) -> None:
    """Refuse what the targets of a task cannot follow.

    Args:
        policy: As chosen.
        reasons: By field what stands against it.

    Raises:
        ConfigError: One of the fields is on.
    """
    for field, reason in reasons.items():
        found = getattr(policy, field)
        if found != Policy.model_fields[field].default:
            raise ConfigError(f"augment.policy.{field}: found {found}; {reason}. Leave it out")


def unmixed(policy: Policy) -> Policy:
    """Return the policy without what mixes images: that of the epochs after `mixed_epochs`."""
    return policy.model_copy(update=dict.fromkeys(_MIXING_FIELDS, 0.0))


def scaled(policy: Policy, strength: float) -> Policy:
    """Return a milder policy.

    Args:
        policy: As chosen.
        strength: 1: as it is; 0: only the flips stay, for they change what is likely, not how hard it is.
    """
    if strength >= 1:
        return policy
    fields = ("crop", "rotate", "shift", "scale", "shear", "brightness", "contrast", "saturation", "hue", "erasing", *_MIXING_FIELDS)
    changes: dict[str, object] = {field: getattr(policy, field) * strength for field in fields}
    changes["random_resized_crop"] = 1 - (1 - policy.random_resized_crop) * strength
    changes["rand_magnitude"] = round(policy.rand_magnitude * strength)
    if not strength or (policy.auto == "trivial" and strength < 0.5):  # trivial has no strength of its own, some of randaugment's operations neither
        changes["auto"] = "none"
    return policy.model_copy(update=changes)
