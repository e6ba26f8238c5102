"""What every plugin of the seam `DatasetFormat` has to keep."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from components.datasets.importing import FORMATS, import_dataset
from components.datasets.manifest import read_dataset, read_manifest
from components.datasets.sources import open_source
from components.protocols import DatasetFormat, ImportedImage, plugin, plugin_names
from tests.components.datasets.formats.conftest import SAMPLES, put


def _image_folder(folder: Path) -> str:
    for label in ("cat", "dog"):
        for index in range(3):
            path = folder / label / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (5, 4), (index, 0, 0)).save(path)
    return str(folder)


def _table(folder: Path) -> str:
    _image_folder(folder / "images")
    (folder / "labels.csv").write_text("image,label\nimages/cat/0.png,cat\nimages/dog/2.png,dog\nimages/cat/1.png,cat\n")
    return str(folder)


def _torchvision(_folder: Path) -> str:
    raw = Path(".darkroom/torchvision/MNIST/raw")
    raw.mkdir(parents=True, exist_ok=True)
    for stem in ("train", "t10k"):  # magic number, sizes, bytes
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 2051, 2, 28, 28) + bytes(2 * 28 * 28))
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, 2) + bytes(2))
    return "torchvision:MNIST"


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


#: By format a source that it reads.
SOURCES: dict[str, Callable[[Path], str]] = {
    "table": _table,
    "torchvision": _torchvision,
    "image_folder": _image_folder,
    "sklearn": lambda _folder: "sklearn:digits",
    "composed": lambda _folder: "composed:detection",
    **{name: partial(put, files=next(iter(variants.values()))) for name, variants in SAMPLES.items() if name != "image_folder"},
}


@pytest.fixture(params=plugin_names(FORMATS))
def reader(request: pytest.FixtureRequest) -> DatasetFormat:
    found: DatasetFormat = plugin(FORMATS, "dataset format", request.param)
    assert found.name == request.param
    return found


def test_it_knows_its_own_sources_and_no_others(reader: DatasetFormat, tmp_path: Path) -> None:
    for name, make in SOURCES.items():
        assert reader.matches(open_source(make(tmp_path / name))) == (name == reader.name)
    (tmp_path / "empty").mkdir()
    assert not reader.matches(open_source(str(tmp_path / "empty")))


def test_every_kind_of_a_layout_is_known_by_its_reader_alone(reader: DatasetFormat, tmp_path: Path) -> None:
    for name, variants in SAMPLES.items():
        for variant, files in variants.items():
            assert reader.matches(open_source(put(tmp_path / name / variant, files))) == (name == reader.name), variant


def test_images_come_in_one_order_with_unique_ids_and_labels_of_its_classes(reader: DatasetFormat, tmp_path: Path) -> None:
    source = open_source(SOURCES[reader.name](tmp_path))
    reading = reader.read(source, None)
    images = [image for image in reading.images if isinstance(image, ImportedImage)]
    assert [image.image_id for image in images] == [image.image_id for image in reader.read(source, None).images]
    assert len({image.image_id for image in images}) == len(images) == reading.total
    assert reading.task in reader.tasks
    named = {label for image in images for label in ([image.row["label"]] if image.row.get("label") else image.row.get("box_labels") or [])}
    assert named <= set(reading.classes)


def test_it_is_imported_by_the_source_alone(reader: DatasetFormat, tmp_path: Path) -> None:
    source = SOURCES[reader.name](tmp_path / "source")
    import_dataset(source, "pets", tmp_path / "data")
    reading = reader.read(open_source(source), None)
    assert read_dataset(tmp_path / "data/pets").classes == reading.classes
    assert read_manifest(tmp_path / "data/pets")["image_id"].tolist() == [image.image_id for image in reading.images]
