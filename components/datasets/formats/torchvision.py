"""Datasets that torchvision fetches by name: `torchvision:CIFAR10`, `torchvision:Food101`.

They are fetched into .darkroom/torchvision/ once, and checked by torchvision's own checksums. A dataset whose images are files keeps their bytes; one
that comes as arrays (CIFAR, MNIST, SVHN, STL10, USPS) has no image files: each image becomes a PNG, uncompressed, so that it has the same
bytes whatever zlib Pillow was built with. Labels are torchvision's class names, or the number where it has none.
"""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.errors import DataError, TransientError, unknown_name
from components.protocols import ImportedImage, Quarantined, Reading, Source

PREFIX = "torchvision:"
FOLDER = Path(".darkroom/torchvision")
_Splits = dict[str | None, dict[str, Any]]
_BY_FLAG: _Splits = {"train": {"train": True}, "test": {"train": False}}
_BY_NAME: _Splits = {name: {"split": name} for name in ("train", "val", "test")}
_TWO: _Splits = {name: _BY_NAME[name] for name in ("train", "test")}
#: By class of torchvision.datasets: the splits, and how it is asked for each.
NAMES: dict[str, _Splits] = {
    **dict.fromkeys(("CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "KMNIST", "USPS"), _BY_FLAG),
    **dict.fromkeys(("SVHN", "STL10", "Food101", "GTSRB"), _TWO),
    **dict.fromkeys(("DTD", "Flowers102", "FGVCAircraft"), _BY_NAME),
    "Country211": {"train": {"split": "train"}, "val": {"split": "valid"}, "test": {"split": "test"}},
    "Imagenette": {"train": {"split": "train"}, "val": {"split": "val"}},
    "OxfordIIITPet": {"train": {"split": "trainval"}, "test": {"split": "test"}},
    "EuroSAT": {None: {}},
}


class Torchvision:
    """Classification datasets of torchvision, by name."""

    name = "torchvision"
    tasks = ("classification",)

    def matches(self, source: Source) -> bool:
        """Tell whether `source` is `torchvision:NAME`."""
        return source.uri.startswith(PREFIX)

    def read(self, source: Source, task: str | None) -> Reading:  # noqa: ARG002 - they serve one task
        """Fetch the dataset if it is not there, and read its labels.

        Raises:
            ConfigError: There is no such dataset.
            TransientError: It cannot be fetched.
            DataError: What is there is damaged.
        """
        name = source.uri.removeprefix(PREFIX)
        if name not in NAMES:
            raise unknown_name("torchvision dataset", name, NAMES)
        parts = {split: _fetched(name, options) for split, options in NAMES[name].items()}
        first = next(iter(parts.values()))
        labels = max(_num_labels(part) for part in parts.values())
        classes = [str(label) for label in getattr(first, "classes", range(labels))]
        return Reading("classification", classes, _images(parts, classes), sum(map(len, parts.values())))


def _fetched(name: str, options: dict[str, Any]) -> Any:
    from torchvision import datasets

    kind = getattr(datasets, name)
    if "loader" in inspect.signature(kind.__init__).parameters:
        options = options | {"loader": Path}  # images are files: their paths are wanted, not their pixels
    FOLDER.mkdir(parents=True, exist_ok=True)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):  # torchvision prints which mirror it tries
            return kind(FOLDER, download=True, **options)
    except OSError as error:
        raise _not_fetched(name, error) from None
    except RuntimeError as error:
        if "download" in str(error).lower():
            raise _not_fetched(name, error) from None
        raise DataError(f"{FOLDER}: {name} is damaged: {_line(error)}. Delete it there, and run again to fetch it") from None
    except Exception as error:  # its readers raise whatever they trip over
        raise DataError(f"{FOLDER}: {name} is damaged: {_line(error)}. Delete it there, and run again to fetch it") from None


def _not_fetched(name: str, error: Exception) -> TransientError:
    return TransientError(
        f"torchvision cannot fetch {name}: {_line(error)}. Is there a network? Or put the files into {FOLDER} as torchvision lays them out"
    )


def _num_labels(part: Any) -> int:
    labels = next((getattr(part, name) for name in ("targets", "labels", "_labels") if hasattr(part, name)), None)
    if labels is None:
        labels = [label for _, label in getattr(part, "_samples", ())]
    return int(max(map(int, labels), default=-1)) + 1


def _images(parts: dict[str | None, Any], classes: list[str]) -> Iterator[ImportedImage | Quarantined]:
    for split, part in parts.items():
        for index in range(len(part)):
            image_id = f"{split or 'images'}/{index:06d}.png"
            try:
                image, label = part[index]
                if isinstance(image, Path):
                    image_id, content = image.relative_to(FOLDER).as_posix(), image.read_bytes()
                else:
                    buffer = io.BytesIO()
                    image.save(buffer, format="PNG", compress_level=0)
                    content = buffer.getvalue()
                row = {"label": classes[int(label)]} | ({"split": split} if split else {})
            except Exception as error:  # its readers raise whatever they trip over
                yield Quarantined(image_id, _line(error))
                continue
            yield ImportedImage(image_id, content, row)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


plugin = Torchvision()
