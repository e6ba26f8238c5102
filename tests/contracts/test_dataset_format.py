"""What every plugin of the seam `DatasetFormat` has to keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from components.datasets.importing import FORMATS, import_dataset
from components.datasets.manifest import read_dataset, read_manifest
from components.protocols import DatasetFormat, plugin, plugin_names


def _image_folder(folder: Path) -> str:
    for label in ("cat", "dog"):
        for index in range(3):
            path = folder / label / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (5, 4), (index, 0, 0)).save(path)
    return str(folder)


#: By format a source that it reads.
SOURCES: dict[str, Callable[[Path], str]] = {"image_folder": _image_folder, "sklearn": lambda _folder: "sklearn:digits"}


@pytest.fixture(params=plugin_names(FORMATS))
def reader(request: pytest.FixtureRequest) -> DatasetFormat:
    found: DatasetFormat = plugin(FORMATS, "dataset format", request.param)
    assert found.name == request.param
    return found


def test_it_knows_its_own_sources_and_no_others(reader: DatasetFormat, tmp_path: Path) -> None:
    for name, make in SOURCES.items():
        assert reader.matches(make(tmp_path / name)) == (name == reader.name)
    assert not reader.matches(str(tmp_path / "nowhere"))


def test_images_come_in_one_order_with_unique_ids_and_labels_of_its_classes(reader: DatasetFormat, tmp_path: Path) -> None:
    source = SOURCES[reader.name](tmp_path)
    images = list(reader.images(source))
    assert images == list(reader.images(source))
    assert len({image.image_id for image in images}) == len(images) == reader.count(source)
    assert {image.row["label"] for image in images} <= set(reader.classes(source))


def test_it_is_imported_by_the_source_alone(reader: DatasetFormat, tmp_path: Path) -> None:
    source = SOURCES[reader.name](tmp_path / "source")
    import_dataset(source, "pets", tmp_path / "data")
    assert read_dataset(tmp_path / "data/pets").classes == reader.classes(source)
    assert read_manifest(tmp_path / "data/pets")["image_id"].tolist() == [image.image_id for image in reader.images(source)]
