"""The random policy as a picture: originals beside what training may see of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from components.datasets.contact_sheet import Pixels, contact_sheet
from components.datasets.policy import Policy
from components.datasets.prepared import PreparedSplit

_NUM_ORIGINALS = 8
_NUM_VERSIONS = 5


def draw_preview(train: PreparedSplit, policy: Policy, path: Path) -> None:
    """Draw training images of different classes, each with five augmented versions beside it.

    Args:
        train: The training images.
        policy: The random policy of the training.
        path: The PNG to write.
    """
    chosen = np.sort(train.rows.drop_duplicates("label").index.to_numpy()[:_NUM_ORIGINALS])
    images_NHWC = np.ascontiguousarray(train.images[chosen])
    versions = [_version(images_NHWC, policy, seed) for seed in range(_NUM_VERSIONS)]
    images: list[Pixels | None] = []
    captions = []
    for row, index in enumerate(chosen):
        images += [images_NHWC[row], *(version[row] for version in versions)]
        captions += [
            f"{train.rows['image_id'][index]}\n{train.rows['label'][index]}",
            *(f"augmented {number + 1}" for number in range(_NUM_VERSIONS)),
        ]
    changed = {name: value for name, value in policy.model_dump().items() if value != Policy.model_fields[name].default}
    title = "augment.policy: " + (json.dumps(changed)[1:-1].replace('"', "") or "nothing is changed")
    contact_sheet(images, captions, title).save(path)


def _version(images_NHWC: Pixels, policy: Policy, seed: int) -> Pixels:
    """Augment a batch with the code that training uses."""
    import torch

    from components.networks.augmentation import augment, mix, to_float

    generator = torch.Generator().manual_seed(seed)
    mixed, _ = mix(augment(torch.from_numpy(images_NHWC).permute(0, 3, 1, 2), policy, generator), policy, generator)
    pixels: Pixels = to_float(mixed).clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return pixels
