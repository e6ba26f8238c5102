from __future__ import annotations

import io
import struct
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.datasets.formats import torchvision
from components.datasets.importing import import_dataset
from components.datasets.manifest import read_dataset, read_manifest
from components.datasets.shards import ShardReader
from components.errors import ConfigError, DataError, TransientError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision keeps its files; no test goes to the network."""
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies of its first use; what is made here goes with the test
    return tmp_path / torchvision.FOLDER


def _write_mnist(folder: Path) -> dict[str, np.ndarray]:
    """Write a tiny MNIST as its authors do (yann.lecun.com/exdb/mnist, IDX): the magic number, the sizes, the bytes."""
    raw = folder / "MNIST/raw"
    raw.mkdir(parents=True)
    images = {}
    for split, stem, count in (("train", "train", 6), ("test", "t10k", 3)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 2051, count, 28, 28) + pixels.tobytes())
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, count) + bytes(range(count)))
        images[split] = pixels
    return images


def test_arrays_become_pngs_of_the_same_pixels(folder: Path, tmp_path: Path) -> None:
    images = _write_mnist(folder)
    import_dataset("torchvision:MNIST", "mnist", tmp_path / "data")
    frame = read_manifest(tmp_path / "data/mnist")
    assert frame["split"].tolist() == ["train"] * 6 + ["test"] * 3
    assert read_dataset(tmp_path / "data/mnist").classes[:2] == ["0 - zero", "1 - one"]
    assert frame["label"].tolist()[:2] == ["0 - zero", "1 - one"]
    with ShardReader(tmp_path / "data/mnist") as shards:
        for row, pixels in zip(frame.itertuples(), [*images["train"], *images["test"]], strict=True):
            content = shards.read(row.shard, row.offset, row.length)
            assert content.startswith(b"\x89PNG")
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)


def test_images_that_are_files_keep_their_bytes_and_a_missing_one_is_quarantined(folder: Path) -> None:
    """The Describable Textures Dataset as its archive unpacks: images/CLASS/CLASS_NUMBER.jpg, labels/SPLITn.txt."""
    root = folder / "dtd/dtd"
    contents = {}
    for split, names in {"train": ["banded/banded_0002.jpg", "dotted/dotted_0001.jpg"], "val": ["banded/banded_0001.jpg"], "test": []}.items():
        (root / "labels").mkdir(parents=True, exist_ok=True)
        (root / "labels" / f"{split}1.txt").write_text("\n".join(names))
        for name in names:
            path = root / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (5, 4), (len(contents), 0, 0)).save(path)
            contents[f"dtd/dtd/images/{name}"] = path.read_bytes()
    (root / "labels/test1.txt").write_text("dotted/dotted_0009.jpg")
    summary = import_dataset("torchvision:DTD", "dtd", Path("data"), config=_any_bad())
    frame = read_manifest(Path("data/dtd"))
    assert frame[["image_id", "label", "split"]].to_numpy().tolist() == [
        ["dtd/dtd/images/banded/banded_0002.jpg", "banded", "train"],
        ["dtd/dtd/images/dotted/dotted_0001.jpg", "dotted", "train"],
        ["dtd/dtd/images/banded/banded_0001.jpg", "banded", "val"],
    ]
    with ShardReader(Path("data/dtd")) as shards:
        assert [shards.read(row.shard, row.offset, row.length) for row in frame.itertuples()] == [contents[name] for name in frame["image_id"]]
    assert len(summary.quarantined) == 1


def _any_bad() -> object:
    from components.datasets.importing import ImportConfig

    return ImportConfig(max_bad=1)


def test_what_cannot_be_fetched_is_one_line_that_says_what_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("MNIST", "CIFAR10", "Food101"):
        with pytest.raises(TransientError, match=f"torchvision cannot fetch {name}: .* Is there a network") as error:
            import_dataset(f"torchvision:{name}", "fetched", tmp_path / "data")
        assert "\n" not in str(error.value)
        assert error.value.exit_code == 75
    assert not capfd.readouterr().out


def test_damaged_files_and_unknown_names_are_said(folder: Path, tmp_path: Path) -> None:
    _write_mnist(folder)
    (folder / "MNIST/raw/train-images-idx3-ubyte").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"MNIST is damaged: .* Delete it there"):
        import_dataset("torchvision:MNIST", "mnist", tmp_path / "data")
    with pytest.raises(ConfigError, match=r"unknown torchvision dataset 'CIFAR11'\. Did you mean 'CIFAR10'"):
        import_dataset("torchvision:CIFAR11", "cifar", tmp_path / "data")


def test_every_name_is_a_class_of_torchvision_that_takes_what_it_is_asked() -> None:
    import inspect

    from torchvision import datasets

    for name, splits in torchvision.NAMES.items():
        takes = inspect.signature(getattr(datasets, name).__init__).parameters
        for options in splits.values():
            assert {*options, "root", "download"} <= set(takes), name
