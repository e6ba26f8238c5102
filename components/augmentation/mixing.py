"""Several images of a batch in one: mixup, cutmix, mosaic, copied classes. What of whom is where is told, so that targets can follow.

Legend: N images, C channels, H height, W width in pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from components.augmentation.colour import boxes, to_float
from components.augmentation.geometry import uniform
from components.datasets.policy import Policy

#: A mosaic's centre lies in the middle half of both sides; its images are shrunk by half at most.
_CENTRE, _LEAST_SCALE = (0.25, 0.75), 0.5


class Mixing(NamedTuple):
    """Who was mixed with whom.

    Attributes:
        partner: The other image of the batch, int64 (N,).
        kept: The share of the image itself, float32 (N,).
        taken: Where the pixels are the partner's, bool (N, 1, H, W); None: both shine through everywhere.
    """

    partner: torch.Tensor
    kept: torch.Tensor
    taken: torch.Tensor | None


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
        taken = boxes(num, 1 - kept, images_NCHW.shape[2], images_NCHW.shape[3], generator)
        return torch.where(taken, images_NCHW[partner], images_NCHW), Mixing(partner, 1 - taken.to(torch.float32).mean(dim=(1, 2, 3)), taken)
    images, share = to_float(images_NCHW), kept.view(-1, 1, 1, 1)
    return images * share + images[partner] * (1 - share), Mixing(partner, kept, None)


class Mosaic(NamedTuple):
    """Four images of the batch on one canvas, in the order upper left, upper right, lower left, lower right.

    Attributes:
        members: Whose image each part shows, int64 (N, 4).
        scale: By how much it is shrunk there, float32 (N, 4).
        source: The upper left corner of the part in the pixels of its image, x and y, float32 (N, 4, 2).
        low: The upper left corner of the part in the canvas, float32 (N, 4, 2), whole numbers.
        high: The lower right one.
    """

    members: torch.Tensor
    scale: torch.Tensor
    source: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor


def draw_mosaic(num: int, height: int, width: int, probability: float, generator: torch.Generator) -> Mosaic | None:
    """Draw a mosaic for each image with a probability (Bochkovskiy et al. 2020, arXiv:2004.10934); None if that is zero.

    A canvas has its image's own size. Each part is filled: it shows a window, at a random place, of an image that is shrunk by a random
    factor. An image that gets no mosaic is all of its own canvas.
    """
    if not probability:
        return None
    device = generator.device
    chosen = torch.rand(num, 1, generator=generator, device=device) < probability
    size = torch.tensor([width, height], device=device, dtype=torch.float32)
    centre = uniform(2 * num, *_CENTRE, generator).view(num, 2).mul(size).round()
    centre = torch.where(chosen, centre, size)
    others = torch.randint(num, (num, 3), generator=generator, device=device)
    members = torch.cat([torch.arange(num, device=device)[:, None], others], dim=1)
    right = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], device=device, dtype=torch.bool)
    low = torch.where(right, centre[:, None], 0.0)
    high = torch.where(right, size, centre[:, None])
    least = ((high - low) / size).amax(dim=2).clamp(min=_LEAST_SCALE)  # that a whole image still fills its part
    scale = least + (1 - least) * uniform(4 * num, 0, 1, generator).view(num, 4)
    room = (size - (high - low) / scale[..., None]).clamp(min=0)
    return Mosaic(members, scale, room * uniform(8 * num, 0, 1, generator).view(num, 4, 2), low, high)


def mosaic_images(images_NCHW: torch.Tensor, mosaic: Mosaic | None) -> torch.Tensor:
    """Return the canvases as float in 0..1, resampled bilinearly, of the same shape; the images as they are where there is no mosaic."""
    if mosaic is None:
        return images_NCHW
    images = to_float(images_NCHW)
    _, _, height, width = images.shape
    x, y, part = _sources(mosaic, height, width)
    grid = torch.stack([x * (2 / width) - 1, y * (2 / height) - 1], dim=-1)
    canvas = images
    for number in range(mosaic.members.shape[1]):
        shown = functional.grid_sample(images[mosaic.members[:, number]], grid, mode="bilinear", padding_mode="border", align_corners=False)
        canvas = torch.where((part == number)[:, None], shown, canvas)
    return canvas


def mosaic_masks(masks: torch.Tensor, mosaic: Mosaic | None) -> torch.Tensor:
    """Return masks, (N, H, W) of whole numbers, of the canvases: each pixel that of the nearest."""
    if mosaic is None:
        return masks
    _, height, width = masks.shape
    x, y, part = _sources(mosaic, height, width)
    member = mosaic.members.gather(1, part.flatten(1)).view_as(part)
    return masks[member, y.long().clamp(0, height - 1), x.long().clamp(0, width - 1)]


def _sources(mosaic: Mosaic, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return for the centre of each pixel of the canvases x and y in the image it shows, and in which part it is, each (N, H, W)."""
    num, device = len(mosaic.members), mosaic.members.device
    columns, rows = torch.arange(width, device=device) + 0.5, torch.arange(height, device=device) + 0.5
    centre = mosaic.high[:, 0]
    part = (columns >= centre[:, :1])[:, None].long() + 2 * (rows >= centre[:, 1:])[:, :, None].long()
    of_pixel = [
        numbers.gather(1, part.view(num, -1)).view(num, height, width) for numbers in (mosaic.scale, *mosaic.source.unbind(2), *mosaic.low.unbind(2))
    ]
    scale, source_x, source_y, low_x, low_y = of_pixel
    return (columns - low_x) / scale + source_x, (rows[:, None] - low_y) / scale + source_y, part


def paste_classes(
    images_NCHW: torch.Tensor, masks: torch.Tensor, probability: float, ignore: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Copy all pixels of some classes of another image onto each image with a probability, where they are, and their mask with them.

    A mask of classes knows no single objects, so it is half of the classes that the other image shows, as in ClassMix (Olsson et al. 2021,
    arXiv:2007.07936); copying objects is Ghiasi et al. 2021, arXiv:2012.07177. An image that shows one class alone gives nothing.

    Args:
        images_NCHW: uint8 or float.
        masks: int64 (N, H, W), 0 to 255.
        probability: Of each image.
        ignore: The value of pixels that are never copied.
        generator: All randomness.
    """
    if not probability:
        return images_NCHW, masks
    num, device = len(masks), generator.device
    chosen = torch.rand(num, 1, generator=generator, device=device) < probability
    partner = torch.randperm(num, generator=generator, device=device)
    theirs = masks[partner]
    shown = torch.zeros(num, 256, dtype=torch.bool, device=device).scatter_(1, theirs.flatten(1), value=True)
    shown[:, ignore] = False
    places = torch.rand(num, 256, generator=generator, device=device).masked_fill(~shown, 2.0).argsort(dim=1).argsort(dim=1)
    copied = (places < shown.sum(dim=1, keepdim=True) // 2) & chosen
    taken = copied.gather(1, theirs.flatten(1)).view_as(masks)
    return torch.where(taken[:, None], images_NCHW[partner], images_NCHW), torch.where(taken, theirs, masks)
