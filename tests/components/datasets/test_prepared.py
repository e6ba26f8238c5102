from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.datasets.prepared import Prepared, write_split
from components.errors import DataError, InputError
from components.files import replacing
from components.records import DatasetRef, PreparedRecord

SIZES = [(4, 4), (6, 8)]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, count in (("train", 5), ("val", 2), ("test", 3)):
        rows = pd.DataFrame(
            {"image_id": [f"{name}{index}" for index in range(count)], "sha256": "0", "label": "a", "site": [None, *["north"] * (count - 1)]}
        )
        images = {size: rng.integers(0, 256, (count, *size, 3), dtype=np.uint8) for size in SIZES}
        batches = [{size: images[size][:2] for size in SIZES}, {size: images[size][2:] for size in SIZES}]
        write_split(tmp_path / name, rows, batches, {size: (count, *size, 3) for size in SIZES})
        np.save(tmp_path / f"{name}.npy", images[6, 8])
    np.save(tmp_path / "train" / "order.npy", np.array([0, 1, 2, 3, 4, 4]))
    (tmp_path / "policy.json").write_text(json.dumps({"crop": 0.1}))
    PreparedRecord(
        task="classification",
        dataset=DatasetRef(name="pets", version="1", manifest_digest="0", num_images=10),
        classes=["a"],
        channels=3,
        resize="stretch",
        sizes=SIZES,
        mean=[0.5] * 3,
        std=[0.5] * 3,
        counts={"train": 5, "val": 2, "test": 3},
        training_digest="0",
    ).save(tmp_path / "prepared.json")
    return tmp_path


def test_images_come_back_memory_mapped_with_their_rows_and_order(prepared: Path) -> None:
    data = Prepared.open(prepared)
    assert data.policy == {"crop": 0.1}
    train = data.split("train", (6, 8))
    assert isinstance(train.images, np.memmap)
    assert train.images.shape == (5, 6, 8, 3)
    np.testing.assert_array_equal(train.images, np.load(prepared / "train.npy"))
    assert train.order.tolist() == [0, 1, 2, 3, 4, 4]
    assert train.rows["site"].tolist() == [None, "north", "north", "north", "north"]
    assert data.split("test").images.shape == (3, 4, 4, 3)
    assert data.split("test").order.tolist() == [0, 1, 2]


def test_what_is_not_there_is_named(prepared: Path) -> None:
    data = Prepared.open(prepared)
    with pytest.raises(DataError, match="images of 4×4 and 6×8 pixels, not 8×8"):
        data.split("val", (8, 8))
    (prepared / "val" / "images-4x4.npy").unlink()
    with pytest.raises(DataError, match="run augment again"):
        data.split("val")
    (prepared / "policy.json").unlink()
    with pytest.raises(DataError, match=r"policy\.json cannot be read"):
        Prepared.open(prepared)
    with pytest.raises(DataError, match=r"prepared\.json not found"):
        Prepared.open(prepared / "nowhere")


def test_a_cut_off_file_is_noticed(prepared: Path) -> None:
    path = prepared / "train" / "images-4x4.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="cannot be read"):
        Prepared.open(prepared).split("train")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_an_error_for_the_reader_not_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.datasets.prepared.images_file", lambda folder, size: Path("/dev/full"))
    images = np.zeros((64, 64, 64, 3), np.uint8)
    with pytest.raises(InputError, match="the disk is full"), replacing(tmp_path / "training") as folder:
        write_split(folder / "train", pd.DataFrame({"image_id": ["a"] * 64}), [{(64, 64): images}], {(64, 64): images.shape})
    assert list(tmp_path.iterdir()) == []
