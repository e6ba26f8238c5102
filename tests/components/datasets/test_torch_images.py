from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from components import datasets
from components.datasets.decoding import decode
from components.datasets.manifest import DatasetInfo
from components.datasets.writing import write_dataset
from components.errors import DataError
from components.protocols import ImportedImage


def jpeg(width: int, height: int, orientation: int = 1) -> bytes:
    image = Image.new("RGB", (width, height), "red")
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def write(root: Path, task: str, images: list[ImportedImage]) -> None:
    write_dataset(images, DatasetInfo(name="pets", version="1.0.0", task=task, classes=["cat", "dog"]), root / "data", keep_damaged=True)


def test_boxes_are_those_of_the_image_as_it_is_returned_upright_and_resized(tmp_path: Path) -> None:
    row = {"boxes_xyxy": [[0, 0, 10, 20], [5, 10, 10, 20]], "box_labels": ["dog", "cat"], "box_ignore": [False, True]}
    write(tmp_path, "detection", [ImportedImage("a.jpg", jpeg(20, 10, orientation=6), row), ImportedImage("b.jpg", jpeg(8, 8), {})])
    with datasets.open("pets", tmp_path) as pets:
        image, target = pets.torch()[0]
        assert (image.shape, image.dtype) == ((3, 20, 10), torch.uint8)
        assert int(image[0].float().mean()) > 240 > 20 > int(image[1].float().mean())  # red
        image, target = pets.torch(size=(40, 5))[0]
        assert image.shape == (3, 40, 5)
        assert target["boxes_xyxy"].tolist() == [[0, 0, 5, 40], [2.5, 20, 5, 40]]
        assert (target["labels"].tolist(), target["ignore"].tolist()) == ([1, 0], [False, True])
        assert pets.torch()[1][1]["boxes_xyxy"].shape == (0, 4)


def test_masks_keep_their_numbers(tmp_path: Path) -> None:
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[:, 4:] = 1
    write(tmp_path, "segmentation", [ImportedImage("a.jpg", jpeg(8, 8), {}, mask), ImportedImage("b.jpg", jpeg(8, 8), {})])
    with datasets.open("pets", tmp_path) as pets:
        assert pets.torch(size=4)[0][1].tolist() == [[0, 0, 1, 1]] * 4
        assert pets.torch()[1][1].unique().tolist() == [255]


def test_pixels_are_those_that_training_sees(tmp_path: Path) -> None:
    deep, clear = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.arange(0, 64000, 1000, dtype=np.uint16).reshape(8, 8)).save(deep, "PNG")
    Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(clear, "PNG")
    contents = [deep.getvalue(), clear.getvalue()]
    write(tmp_path, "classification", [ImportedImage(f"{number}.png", content, {"label": "cat"}) for number, content in enumerate(contents)])
    with datasets.open("pets", tmp_path) as pets:
        for number, content in enumerate(contents):
            np.testing.assert_array_equal(pets.torch()[number][0].permute(1, 2, 0).numpy(), decode(content))


def test_it_fits_a_loader_and_names_a_damaged_image(tmp_path: Path) -> None:
    images = [ImportedImage(f"{index}.jpg", jpeg(8, 8), {"label": "dog"}) for index in range(4)]
    write(tmp_path, "classification", [*images, ImportedImage("bad.jpg", b"no image", {"label": "cat"})])
    with datasets.open("pets", tmp_path) as pets:
        batch, labels = next(iter(DataLoader(pets.torch(size=8), batch_size=4)))
        assert (batch.shape, labels.tolist()) == ((4, 3, 8, 8), [1, 1, 1, 1])
        with pytest.raises(DataError, match=r"bad\.jpg"):
            pets.torch()[4]
        with pytest.raises(IndexError):
            pets.torch()[5]
