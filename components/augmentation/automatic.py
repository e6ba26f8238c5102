"""TrivialAugment (Müller and Hutter 2021, arXiv:2103.10158) and RandAugment (Cubuk et al. 2020, arXiv:1909.13719) on whole batches.

Operations and their ranges are torchvision's (`TrivialAugmentWide`, `RandAugment`). Each image draws its own operation and strength; the
images that drew the same operation are changed together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

from components.augmentation.colour import grey
from components.augmentation.geometry import resample, uniform
from components.datasets.policy import Policy

_NUM_BINS = 31
Operation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Range:
    """What strength 0..1 means for an operation; `signed`: either way."""

    full: float
    signed: bool = True


def _column(strength: torch.Tensor) -> torch.Tensor:
    return strength.view(-1, 1, 1, 1)


def _warp(entry: tuple[int, int]) -> Operation:
    def operation(images: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
        theta = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
        theta[:, entry[0], entry[1]] = strength
        return resample(images, theta)

    return operation


def _rotate(images: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    angle, ratio = degrees.deg2rad(), images.shape[3] / images.shape[2]
    zero = torch.zeros_like(angle)
    rows = (torch.stack([angle.cos(), -angle.sin() / ratio, zero], 1), torch.stack([angle.sin() * ratio, angle.cos(), zero], 1))
    return resample(images, torch.stack(rows, 1))


def _blend(images: torch.Tensor, other: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    return (other + (1 + _column(strength)) * (images - other)).clamp(0, 1)


def _brightness(images: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    return _blend(images, torch.zeros_like(images), strength)


def _contrast(images: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    return _blend(images, grey(images).mean(dim=(1, 2, 3), keepdim=True), strength)


def _saturation(images: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    return _blend(images, grey(images), strength)


def _sharpness(images: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    if min(images.shape[2:]) < 3:
        return images
    kernel = torch.tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]], device=images.device) / 13
    channels = images.shape[1]
    blurred = images.clone()
    blurred[:, :, 1:-1, 1:-1] = functional.conv2d(images, kernel.expand(channels, 1, 3, 3), groups=channels)
    return _blend(images, blurred, strength)


def _posterize(images: torch.Tensor, lost_bits: torch.Tensor) -> torch.Tensor:
    step = torch.exp2(_column(lost_bits.round()))
    return ((images * 255).round() / step).floor() * step / 255


def _solarize(images: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    return torch.where(images >= 1 - _column(strength), 1 - images, images)


def _autocontrast(images: torch.Tensor, _strength: torch.Tensor) -> torch.Tensor:
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    spread = high - low
    return torch.where(spread > 0, (images - low) / spread.clamp(min=1e-6), images)


def _equalize(images: torch.Tensor, _strength: torch.Tensor) -> torch.Tensor:
    from torchvision.transforms.v2.functional import equalize

    levels: torch.Tensor = equalize((images * 255).round().to(torch.uint8))
    return levels.to(images.dtype) / 255


def _identity(images: torch.Tensor, _strength: torch.Tensor) -> torch.Tensor:
    return images


_OPERATIONS: dict[str, Operation] = {
    "identity": _identity,
    "shear_x": _warp((0, 1)),
    "shear_y": _warp((1, 0)),
    "translate_x": _warp((0, 2)),
    "translate_y": _warp((1, 2)),
    "rotate": _rotate,
    "brightness": _brightness,
    "saturation": _saturation,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}


def _ranges(shear: float, translate: float, degrees: float, colour: float, lost_bits: float) -> dict[str, Range]:
    colours = dict.fromkeys(("brightness", "saturation", "contrast", "sharpness"), Range(colour))
    return colours | {
        "identity": Range(0.0),
        "shear_x": Range(shear),
        "shear_y": Range(shear),
        "translate_x": Range(2 * translate),  # the resampling's coordinates go from -1 to 1
        "translate_y": Range(2 * translate),
        "rotate": Range(degrees),
        "posterize": Range(lost_bits, signed=False),
        "solarize": Range(1.0, signed=False),
        "autocontrast": Range(0.0),
        "equalize": Range(0.0),
    }


def automatic(images_NCHW: torch.Tensor, policy: Policy, generator: torch.Generator) -> torch.Tensor:
    """Apply `policy.auto` to float images in 0..1."""
    num = len(images_NCHW)
    if policy.auto == "trivial":
        ranges = _ranges(shear=0.99, translate=min(1.0, 32 / max(images_NCHW.shape[2:])), degrees=135.0, colour=0.99, lost_bits=6.0)
        return _one_operation(images_NCHW, ranges, uniform(num, 0, 1, generator), generator)
    if policy.auto == "randaugment":
        ranges = _ranges(shear=0.3, translate=150 / 331, degrees=30.0, colour=0.9, lost_bits=4.0)
        strength = torch.full((num,), policy.rand_magnitude / (_NUM_BINS - 1), device=generator.device)
        for _ in range(policy.rand_num_ops):
            images_NCHW = _one_operation(images_NCHW, ranges, strength, generator)
    return images_NCHW


def _one_operation(images: torch.Tensor, ranges: Mapping[str, Range], strength: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    num, device = len(images), generator.device
    drawn = torch.randint(len(_OPERATIONS), (num,), generator=generator, device=device)
    sign = torch.randint(0, 2, (num,), generator=generator, device=device) * 2 - 1
    result = images.clone()
    for number, (name, operation) in enumerate(_OPERATIONS.items()):
        chosen = (drawn == number).nonzero().squeeze(1)
        if name != "identity" and len(chosen):
            amount = strength[chosen] * ranges[name].full * (sign[chosen] if ranges[name].signed else 1)
            result[chosen] = operation(images[chosen], amount)
    return result
