"""The three versions of the dataset `digits` that the demo lives through: a young one with errors, a complete one, a spoilt one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from components.config import read_params, section_of
from components.datasets.formats.sklearn import digits
from components.datasets.manifest import DatasetInfo
from components.datasets.writing import WriteSummary, write_dataset
from components.errors import unknown_name
from components.protocols import ImportedImage
from components.steps.split import SplitConfig, side_of

NAME = "digits"
CLASSES = [str(digit) for digit in range(10)]
NUM_YOUNG = 400
ONE_WRONG_IN = 20
NUM_SHUFFLED = 60
NUM_DAMAGED_OF_A_KIND = 4
DELIVERY = "delivery"


def make_version(version: str, root: Path = Path("data"), params: Path = Path("params.yaml")) -> WriteSummary:
    """Write a version of the demo's dataset as `root/digits`, in place of the one before.

    Args:
        version: 1.0: 400 images, one label in twenty of those that are trained on or chosen by is wrong; 1.1: all 1,797 images, labels
            right; 1.2: the same and a delivery of damaged files and of copies whose labels were shuffled.
        root: Where datasets stand.
        params: params.yaml: its section `split` says which images judge, and those images' labels are right from the start.

    Raises:
        ConfigError: There is no such version.
    """
    makers: dict[str, Callable[[list[ImportedImage], SplitConfig], list[ImportedImage]]] = {"1.0": _young, "1.1": _complete, "1.2": _spoilt}
    if version not in makers:
        raise unknown_name("version of the demo's data", version, makers)
    config = section_of(read_params(params), SplitConfig)
    images = makers[version](list(digits()), config)
    info = DatasetInfo(name=NAME, version=f"{version}.0", task="classification", classes=CLASSES)
    return write_dataset(images, info, root, mode="replace", total=len(images), keep_damaged=True)


def _complete(images: list[ImportedImage], _config: SplitConfig) -> list[ImportedImage]:
    return images


def _young(images: list[ImportedImage], config: SplitConfig) -> list[ImportedImage]:
    chosen = {image.image_id for image in sorted(images, key=lambda image: _draw("young", image))[:NUM_YOUNG]}
    young = [image for image in images if image.image_id in chosen]
    not_judging = [image for image in young if side_of(config, hashlib.sha256(image.content).hexdigest()) != "test"]
    wrong = {image.image_id for image in sorted(not_judging, key=lambda image: _draw("wrong", image))[: len(not_judging) // ONE_WRONG_IN]}
    return [_mislabelled(image) if image.image_id in wrong else image for image in young]


def _spoilt(images: list[ImportedImage], _config: SplitConfig) -> list[ImportedImage]:
    drawn = sorted(images, key=lambda image: _draw("spoilt", image))
    shuffled = [_mislabelled(replace(image, image_id=f"{DELIVERY}/relabelled/{image.image_id}")) for image in drawn[:NUM_SHUFFLED]]
    return [*images, *_damaged(drawn[NUM_SHUFFLED:]), *shuffled]


def _damaged(images: list[ImportedImage]) -> Iterator[ImportedImage]:
    """Yield files as they come from a broken transfer: cut off, empty, or something else under the name of an image."""
    kinds: dict[str, Callable[[bytes], bytes]] = {
        "truncated": lambda content: content[: len(content) * 2 // 3],
        "empty": lambda _content: b"",
        "text": lambda _content: b"404 Not Found\n",
    }
    for kind, (name, damage) in enumerate(kinds.items()):
        for image in images[kind * NUM_DAMAGED_OF_A_KIND :][:NUM_DAMAGED_OF_A_KIND]:
            yield replace(image, image_id=f"{DELIVERY}/{name}/{image.image_id}", content=damage(image.content))


def _mislabelled(image: ImportedImage) -> ImportedImage:
    wrong = (int(image.row["label"]) + 1 + _draw("label", image) % 9) % 10
    return replace(image, row={**image.row, "label": str(wrong)})


def _draw(purpose: str, image: ImportedImage) -> int:
    """Return a number that is random but always the same for an image and a purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{image.image_id}".encode()).digest()[:8], "big")
