"""Colour jitter as one colour matrix an image, and erasing."""

from __future__ import annotations

import math

import torch

from components.augmentation.geometry import uniform
from components.datasets.policy import Policy

#: Rec. 601 luma, as `torchvision.transforms.functional.rgb_to_grayscale`.
LUMA = (0.299, 0.587, 0.114)
#: RGB → YIQ (NTSC): a hue shift is a turn of I and Q.
_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Return images as float32 in 0..1, in the same layout; float images as they are."""
    return images if images.is_floating_point() else images.to(torch.float32).div_(255)


def grey(images_NCHW: torch.Tensor) -> torch.Tensor:
    """Return the luma of float images, (N, 1, H, W)."""
    if images_NCHW.shape[1] == 1:
        return images_NCHW
    weights = torch.tensor(LUMA, device=images_NCHW.device, dtype=images_NCHW.dtype).view(1, 3, 1, 1)
    return (images_NCHW * weights).sum(1, keepdim=True)


def jitter(images_NCHW: torch.Tensor, policy: Policy, generator: torch.Generator) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue of each image, in this order, clipped to 0..1 at the end.

    All four are linear in the colour, so they are one matrix and one offset an image.

    Args:
        images_NCHW: Float in 0..1, one channel (brightness and contrast only) or three.
        policy: Ranges.
        generator: All randomness.
    """
    if not (policy.brightness or policy.contrast or policy.saturation or policy.hue):
        return images_NCHW
    num, channels = images_NCHW.shape[:2]
    brightness, contrast, saturation = (
        uniform(num, max(0.0, 1 - x), 1 + x, generator) for x in (policy.brightness, policy.contrast, policy.saturation)
    )
    scale = (brightness * contrast).view(-1, 1, 1, 1)
    offset = ((1 - contrast) * brightness).view(-1, 1, 1, 1) * grey(images_NCHW).mean(dim=(1, 2, 3), keepdim=True)
    images = images_NCHW * scale + offset
    if channels == 3 and (policy.saturation or policy.hue):
        turn = uniform(num, -policy.hue, policy.hue, generator) * (2 * math.pi)
        images = torch.einsum("nij,njhw->nihw", _colour_matrices(saturation, turn).to(images.dtype), images)
    return images.clamp(0, 1)


def _colour_matrices(saturation: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Return (N, 3, 3): a blend with the luma, then a turn of the hue by `turn` radians."""
    device, num = saturation.device, len(saturation)
    luma = torch.tensor(LUMA, device=device).expand(3, 3)
    blend = saturation.view(-1, 1, 1) * torch.eye(3, device=device) + (1 - saturation).view(-1, 1, 1) * luma
    rotation = torch.zeros(num, 3, 3, device=device)
    rotation[:, 0, 0] = 1
    rotation[:, 1, 1] = rotation[:, 2, 2] = turn.cos()
    rotation[:, 1, 2], rotation[:, 2, 1] = -turn.sin(), turn.sin()
    yiq = torch.tensor(_YIQ, device=device)
    matrices: torch.Tensor = torch.linalg.inv(yiq) @ rotation @ yiq @ blend
    return matrices


def boxes(num: int, area: torch.Tensor, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """Return a mask of one random box an image, bool (num, 1, height, width).

    Args:
        num: Images.
        area: Share of the image's area that each box covers before it is clipped to the image, (num,).
        height: In pixels.
        width: In pixels.
        generator: Aspect (0.3 to 3.3) and place.
    """
    device = generator.device
    aspect = torch.exp(uniform(num, math.log(0.3), math.log(3.3), generator))
    half_h, half_w = (area / aspect).sqrt() * height / 2, (area * aspect).sqrt() * width / 2
    centre_y, centre_x = uniform(num, 0, height, generator), uniform(num, 0, width, generator)
    y = torch.arange(height, device=device) + 0.5
    x = torch.arange(width, device=device) + 0.5
    inside_y = (y - centre_y.unsqueeze(1)).abs() <= half_h.unsqueeze(1)
    inside_x = (x - centre_x.unsqueeze(1)).abs() <= half_w.unsqueeze(1)
    return (inside_y.unsqueeze(2) & inside_x.unsqueeze(1)).unsqueeze(1)


def erase(images_NCHW: torch.Tensor, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Paint a box of 2 to 33% of the area in the image's mean colour (Zhong et al. 2020, arXiv:1708.04896)."""
    if not probability:
        return images_NCHW
    num, _, height, width = images_NCHW.shape
    chosen = (torch.rand(num, generator=generator, device=generator.device) < probability).view(-1, 1, 1, 1)
    mask = boxes(num, uniform(num, 0.02, 0.33, generator), height, width, generator) & chosen
    return torch.where(mask, images_NCHW.mean(dim=(2, 3), keepdim=True), images_NCHW)
