"""Where pixels come from: flips and crops as indices into stored bytes, everything else as one affine resampling a batch."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from components.datasets.policy import Policy


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """Return `count` numbers between `low` and `high` on the generator's device, float32."""
    return torch.rand(count, generator=generator, device=generator.device) * (high - low) + low


def flip_and_crop(images_NCHW: torch.Tensor, policy: Policy, generator: torch.Generator) -> torch.Tensor:
    """Flip, and crop from the image padded by its own reflection, each image on its own; any dtype, no resampling.

    Fastest on uint8 images whose memory is NHWC, as they are stored: 3 bytes a pixel move, not 12.
    """
    if not (policy.horizontal_flip or policy.vertical_flip or policy.crop):
        return images_NCHW
    num, channels, height, width = images_NCHW.shape
    rows = _positions(num, height, policy.crop, policy.vertical_flip, generator)
    columns = _positions(num, width, policy.crop, policy.horizontal_flip, generator)
    lines = images_NCHW.permute(0, 2, 3, 1).reshape(num * height, width * channels)
    starts = torch.arange(num, device=rows.device).unsqueeze(1)
    if policy.crop or policy.vertical_flip:
        lines = lines.index_select(0, (rows + starts * height).view(-1))
    pixels = lines.view(num, height, width, channels)
    index = columns.view(num, 1, width, 1).expand(num, height, width, channels)
    return pixels.gather(2, index).permute(0, 3, 1, 2)


def _positions(num: int, side: int, crop: float, flip: float, generator: torch.Generator) -> torch.Tensor:
    """Return for each image the source position of each row or column, int64 (num, side)."""
    device = generator.device
    positions = torch.arange(side, device=device).repeat(num, 1)
    if flip:
        flipped = torch.rand(num, 1, generator=generator, device=device) < flip
        positions = torch.where(flipped, side - 1 - positions, positions)
    padding = min(round(crop * side), side - 1)
    if padding:
        positions = positions + torch.randint(-padding, padding + 1, (num, 1), generator=generator, device=device)
        positions = positions.abs()  # reflection about the first pixel, then about the last
        positions = (side - 1) - (side - 1 - positions).abs()
    return positions


def affine(images_NCHW: torch.Tensor, policy: Policy, generator: torch.Generator) -> torch.Tensor:
    """Rotate, shift, and zoom into a random part (random resized crop), all in one bilinear resampling.

    Args:
        images_NCHW: Float (N, C, H, W).
        policy: `rotate` in degrees, `shift` as a share of the side, `random_resized_crop` as the least share of the area.
        generator: All randomness.

    Returns:
        Float (N, C, H, W); what comes from outside is the image's reflection.
    """
    if not (policy.rotate or policy.shift or policy.random_resized_crop < 1):
        return images_NCHW
    num, _, height, width = images_NCHW.shape
    scale_x = scale_y = torch.ones(num, device=generator.device)
    centre_x = centre_y = torch.zeros(num, device=generator.device)
    if policy.random_resized_crop < 1:  # He et al. 2015; area and aspect as in torchvision.transforms.RandomResizedCrop
        area = uniform(num, policy.random_resized_crop, 1.0, generator)
        aspect = torch.exp(uniform(num, math.log(3 / 4), math.log(4 / 3), generator))
        scale_x, scale_y = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
        centre_x = uniform(num, -1, 1, generator) * (1 - scale_x)
        centre_y = uniform(num, -1, 1, generator) * (1 - scale_y)
    if policy.shift:
        centre_x = centre_x + uniform(num, -2 * policy.shift, 2 * policy.shift, generator)
        centre_y = centre_y + uniform(num, -2 * policy.shift, 2 * policy.shift, generator)
    angle = uniform(num, -policy.rotate, policy.rotate, generator).deg2rad()
    ratio = width / height
    rows = (
        torch.stack([scale_x * angle.cos(), -scale_y * angle.sin() / ratio, centre_x], dim=1),
        torch.stack([scale_x * angle.sin() * ratio, scale_y * angle.cos(), centre_y], dim=1),
    )
    return resample(images_NCHW, torch.stack(rows, dim=1))


def resample(images_NCHW: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Resample each image with its own matrix.

    Args:
        images_NCHW: Float (N, C, H, W).
        theta: (N, 2, 3), positions in the result → positions in the source, both in -1..1.
    """
    grid = functional.affine_grid(theta.to(images_NCHW.dtype), list(images_NCHW.shape), align_corners=False)
    return functional.grid_sample(images_NCHW, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
