"""Where pixels come from: flips and crops as indices into stored bytes, everything else as one affine resampling a batch.

Legend: N images, K boxes of an image at most, C channels, H height, W width in pixels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch.nn import functional

from components.datasets.policy import Policy


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """Return `count` numbers between `low` and `high` on the generator's device, float32."""
    return torch.rand(count, generator=generator, device=generator.device) * (high - low) + low


class Motion(NamedTuple):
    """What geometry did to a batch: enough to move boxes and masks exactly as the images moved.

    Attributes:
        rows: int64 (N, H), the source row of each row of the result, beyond the image where a crop reaches there; None: each its own.
        columns: int64 (N, W), likewise.
        theta: (N, 2, 3), positions in the result of the resampling → positions in its source, both in -1..1; None: nothing was resampled.
    """

    rows: torch.Tensor | None
    columns: torch.Tensor | None
    theta: torch.Tensor | None


def draw_motion(num: int, height: int, width: int, policy: Policy, generator: torch.Generator) -> Motion:
    """Draw flips and crops, then one affine map, for each image on its own."""
    rows = _positions(num, height, policy.crop, policy.vertical_flip, generator)
    columns = _positions(num, width, policy.crop, policy.horizontal_flip, generator)
    return Motion(rows, columns, _theta(num, height, width, policy, generator))


def take(images_NCHW: torch.Tensor, motion: Motion, outside: float | None = None) -> torch.Tensor:
    """Flip and crop, each image on its own; any dtype, no resampling.

    Fastest on uint8 images whose memory is NHWC, as they are stored: 3 bytes a pixel move, not 12.

    Args:
        images_NCHW: What moves.
        motion: How.
        outside: The value of what comes from outside; None: the image's own reflection.
    """
    if motion.rows is None and motion.columns is None:
        return images_NCHW
    num, channels, height, width = images_NCHW.shape
    pixels = images_NCHW.permute(0, 2, 3, 1)
    if motion.rows is not None:
        starts = torch.arange(num, device=motion.rows.device).unsqueeze(1) * height
        lines = pixels.reshape(num * height, width * channels).index_select(0, (_reflected(motion.rows, height) + starts).view(-1))
        pixels = lines.view(num, height, width, channels)
    if motion.columns is not None:
        index = _reflected(motion.columns, width).view(num, 1, width, 1).expand(num, height, width, channels)
        pixels = pixels.gather(2, index)
    taken = pixels.permute(0, 3, 1, 2)
    if outside is None:
        return taken
    for positions, side, shape in ((motion.rows, height, (num, 1, height, 1)), (motion.columns, width, (num, 1, 1, width))):
        if positions is not None:
            taken = taken.masked_fill(((positions < 0) | (positions >= side)).view(shape), outside)
    return taken


def _positions(num: int, side: int, crop: float, flip: float, generator: torch.Generator) -> torch.Tensor | None:
    """Return for each image the source position of each row or column, int64 (num, side); outside of 0..side-1 where a crop reaches there.

    None where all stay.
    """
    if not (crop or flip):
        return None
    device = generator.device
    positions = torch.arange(side, device=device).repeat(num, 1)
    if flip:
        flipped = torch.rand(num, 1, generator=generator, device=device) < flip
        positions = torch.where(flipped, side - 1 - positions, positions)
    padding = min(round(crop * side), side - 1)
    if padding:
        positions = positions + torch.randint(-padding, padding + 1, (num, 1), generator=generator, device=device)
    return positions


def _reflected(positions: torch.Tensor, side: int) -> torch.Tensor:
    positions = positions.abs()  # about the first pixel, then about the last
    return (side - 1) - (side - 1 - positions).abs()


def _theta(num: int, height: int, width: int, policy: Policy, generator: torch.Generator) -> torch.Tensor | None:
    """Draw one affine map an image: a window of it (`random_resized_crop`), `scale`, `shear`, `rotate` and `shift` in one."""
    if not (policy.rotate or policy.shift or policy.scale or policy.shear or policy.random_resized_crop < 1):
        return None
    device = generator.device
    scale_x = scale_y = torch.ones(num, device=device)
    centre_x = centre_y = torch.zeros(num, device=device)
    if policy.random_resized_crop < 1:  # Szegedy et al. 2014, arXiv:1409.4842; area and aspect as in torchvision.transforms.RandomResizedCrop
        area = uniform(num, policy.random_resized_crop, 1.0, generator)
        aspect = torch.exp(uniform(num, math.log(3 / 4), math.log(4 / 3), generator))
        scale_x, scale_y = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
        centre_x = uniform(num, -1, 1, generator) * (1 - scale_x)
        centre_y = uniform(num, -1, 1, generator) * (1 - scale_y)
    if policy.shift:
        centre_x = centre_x + uniform(num, -2 * policy.shift, 2 * policy.shift, generator)
        centre_y = centre_y + uniform(num, -2 * policy.shift, 2 * policy.shift, generator)
    angle = uniform(num, -policy.rotate, policy.rotate, generator).deg2rad()
    cos, sin = angle.cos(), angle.sin()
    (a, b), (c, d) = (cos, -sin), (sin, cos)  # in pixels, a step in the result → a step in the source
    if policy.shear:
        slant_x, slant_y = (uniform(num, -policy.shear, policy.shear, generator).deg2rad().tan() for _ in range(2))
        (a, b), (c, d) = (a + b * slant_y, a * slant_x + b), (c + d * slant_y, c * slant_x + d)
    if policy.scale:
        zoom = uniform(num, 1 - policy.scale, 1 + policy.scale, generator)
        scale_x, scale_y = scale_x / zoom, scale_y / zoom
    ratio = width / height
    rows = (
        torch.stack([scale_x * a, scale_y * b / ratio, centre_x], dim=1),
        torch.stack([scale_x * c * ratio, scale_y * d, centre_y], dim=1),
    )
    return torch.stack(rows, dim=1)


def resample(images_NCHW: torch.Tensor, theta: torch.Tensor, mode: str = "bilinear", outside: str = "reflection") -> torch.Tensor:
    """Resample each image with its own matrix.

    Args:
        images_NCHW: Float (N, C, H, W).
        theta: (N, 2, 3), positions in the result → positions in the source, both in -1..1.
        mode: bilinear or nearest.
        outside: What comes from outside: the image's reflection, or zeros.
    """
    grid = functional.affine_grid(theta.to(images_NCHW.dtype), list(images_NCHW.shape), align_corners=False)
    return functional.grid_sample(images_NCHW, grid, mode=mode, padding_mode=outside, align_corners=False)


def move_masks(masks: torch.Tensor, motion: Motion, ignore: int) -> torch.Tensor:
    """Move masks as their images moved, each pixel taking the nearest value.

    Args:
        masks: int64 (N, H, W).
        motion: What happened to the images.
        ignore: The value of what comes from outside.
    """
    moved = take(masks.unsqueeze(1), motion, outside=float(ignore))
    if motion.theta is not None:
        moved = (resample((moved - ignore).to(torch.float32), motion.theta, mode="nearest", outside="zeros") + ignore).to(masks.dtype)
    return moved.squeeze(1)


def take_boxes(boxes_xyxy: torch.Tensor, motion: Motion) -> torch.Tensor:
    """Move boxes, float (N, K, 4), as `take` moves images; they may reach out of the image."""
    boxes = boxes_xyxy
    for axis, positions in enumerate((motion.columns, motion.rows)):
        if positions is not None:
            boxes = _moved_along(boxes, positions, axis)
    return boxes


def resample_boxes(boxes_xyxy: torch.Tensor, motion: Motion, height: int, width: int) -> torch.Tensor:
    """Return boxes, float (N, K, 4), that enclose the corners as `resample` moves them; they may reach out of the image of height and width."""
    if motion.theta is None:
        return boxes_xyxy
    size = torch.tensor([width, height], device=boxes_xyxy.device, dtype=torch.float32)
    corners = boxes_xyxy[..., [0, 1, 2, 1, 0, 3, 2, 3]].view(*boxes_xyxy.shape[:2], 4, 2)
    theta = motion.theta.to(torch.float32)
    sources = corners / size * 2 - 1 - theta[:, None, None, :, 2]
    results = (torch.einsum("nij,nkcj->nkci", torch.linalg.inv(theta[:, :, :2]), sources) + 1) / 2 * size
    return torch.cat([results.amin(dim=2), results.amax(dim=2)], dim=-1)


def _moved_along(boxes: torch.Tensor, positions: torch.Tensor, axis: int) -> torch.Tensor:
    """Move the edges of boxes along x (0) or y (1): a step in the result is a step of one pixel in the source, either way."""
    step = positions[:, -1:].sub(positions[:, :1]).sign() if positions.shape[1] > 1 else torch.ones_like(positions[:, :1])
    start = torch.where(step > 0, positions[:, :1], positions[:, :1] + 1)  # the edge at which the result begins, in the source
    edges = (boxes[..., [axis, axis + 2]] - start[:, :, None]) * step[:, :, None]
    moved = boxes.clone()
    moved[..., axis], moved[..., axis + 2] = edges.amin(dim=-1), edges.amax(dim=-1)
    return moved
