"""A dataset as torch sees it: for a notebook or a training of one's own. Darkroom's own training reads `prepared` data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset

from components.datasets.annotations import IGNORE, boxes_of
from components.datasets.decoding import upright_rgb
from components.datasets.headers import open_image
from components.errors import DataError

if TYPE_CHECKING:
    from components.datasets.dataset import Dataset


class TorchImages(TorchDataset[tuple[torch.Tensor, Any]]):
    """Images and targets in the manifest's order.

    An image is uint8 (3, H, W), upright, RGB. Its target, by the dataset's task:

    classification   the index of its class, -1 if it has no label
    detection        boxes_xyxy float32 (K, 4) in pixels of the image as it is returned, labels int64 (K,), ignore bool (K,)
    segmentation     uint8 (H, W): the index of its class, or 255

    Args:
        dataset: What to read; it stays open as long as this is used.
        size: Height and width in pixels to which images are resized, both stretched; None: as they are.
    """

    def __init__(self, dataset: Dataset, size: int | tuple[int, int] | None = None) -> None:
        self._dataset = dataset
        self._size_hw = (size, size) if isinstance(size, int) else size
        self._classes = {name: index for index, name in enumerate(dataset.info.classes)}

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        index %= len(self)
        image = self._image(index)
        old_hw = image.height, image.width
        height, width = self._size_hw or old_hw
        if (height, width) != old_hw:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return pixels, self._target(index, (height / old_hw[0], width / old_hw[1]))

    def _image(self, index: int) -> Image.Image:
        content = self._dataset.image(index)
        try:
            return upright_rgb(open_image(content))
        except DataError as error:
            raise DataError(f"{self._dataset.table.column('image_id')[index]}: {error}") from error

    def _target(self, index: int, scale_hw: tuple[float, float]) -> Any:
        task, table = self._dataset.info.task, self._dataset.table
        if task == "classification":
            return self._classes.get(table.column("label")[index].as_py(), -1)
        if task == "segmentation":
            mask = self._dataset.mask(index)
            return self._mask(mask, index)
        boxes = boxes_of(table.column("boxes_xyxy")[index].as_py()) * np.array([scale_hw[1], scale_hw[0]] * 2)
        labels = table.column("box_labels")[index].as_py() or []
        ignore = table.column("box_ignore")[index].as_py() or [False] * len(labels)
        return {
            "boxes_xyxy": torch.from_numpy(boxes.astype(np.float32)),
            "labels": torch.tensor([self._classes[label] for label in labels], dtype=torch.int64),
            "ignore": torch.tensor(ignore, dtype=torch.bool),
        }

    def _mask(self, mask: Any, index: int) -> torch.Tensor:
        height, width = (int(self._dataset.table.column(name)[index].as_py()) for name in ("height", "width"))
        picture = Image.fromarray(np.full((height, width), IGNORE, dtype=np.uint8) if mask is None else mask)
        if self._size_hw and (picture.height, picture.width) != self._size_hw:
            picture = picture.resize(self._size_hw[::-1], Image.Resampling.NEAREST)
        return torch.from_numpy(np.array(picture))
