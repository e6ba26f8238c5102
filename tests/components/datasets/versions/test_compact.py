from __future__ import annotations

from pathlib import Path

import numpy as np

from components.datasets.annotations import IGNORE
from components.datasets.dataset import Dataset
from components.datasets.manifest import dataset_ref, read_table, write_table
from components.datasets.versions.compact import compact
from components.protocols import ImportedImage
from tests.components.datasets.versions.conftest import picture, write


def test_bytes_that_no_row_names_go_and_all_others_are_found(tmp_path: Path) -> None:
    def masked(name: str, value: int) -> ImportedImage:
        return ImportedImage(name, picture(name), {"boxes_xyxy": [], "box_labels": []}, np.full((8, 8), value, dtype=np.uint8))

    write(tmp_path, [masked(f"{number:02d}.png", number % 2) for number in range(12)])
    folder = tmp_path / "data" / "pets"
    write(tmp_path, [masked("05.png", IGNORE)], "append")
    write_table(read_table(folder).slice(4), folder / "manifest.parquet")
    before = dataset_ref(folder)
    done = compact(folder, max_shard_bytes=20_480)
    assert done.bytes_after < done.bytes_before * 0.75
    assert done.shards_after > 1
    assert dataset_ref(folder) == before
    with Dataset.of_folder(folder) as dataset:
        assert [dataset.image(index) for index in range(8)] == [picture(f"{number:02d}.png") for number in range(4, 12)]
        mask = dataset.mask(1)
        assert mask is not None
        assert (mask == IGNORE).all()
    again = compact(folder, max_shard_bytes=20_480)
    assert again.bytes_after == again.bytes_before
