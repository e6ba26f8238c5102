from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from PIL import Image

from components.datasets import parts
from components.datasets.importing import ImportConfig, import_dataset
from components.datasets.manifest import read_table
from components.datasets.shards import ShardReader
from components.datasets.sources import open_source
from components.errors import ConfigError

NUM_IMAGES = 90
ROOT = Path(__file__).parents[3]
LENIENT = ImportConfig(max_bad=0.5)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images with masks, one of them damaged, one mask without its image."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for number in range(NUM_IMAGES):
        for folder, image in (
            ("images", Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8))),
            ("masks", Image.fromarray(generator.integers(0, 2, (9, 12), np.uint8) * 255)),
        ):
            path = tmp_path / "photos" / folder / f"{number:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    (tmp_path / "photos/images/07.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (tmp_path / "photos/images/11.png").unlink()
    return tmp_path / "photos"


def _content(folder: Path) -> list[Any]:
    """Rows without the places of their bytes, and these bytes."""
    table = read_table(folder)
    rows: list[Any] = table.drop_columns(["shard", "offset", "length", "mask_shard", "mask_offset", "mask_length"]).to_pylist()
    with ShardReader(folder) as shards:
        for row, place in zip(rows, table.to_pylist(), strict=True):
            row["image"] = shards.read(place["shard"], place["offset"], place["length"])
            row["mask"] = shards.read(place["mask_shard"], place["mask_offset"], place["mask_length"])
    return rows


def test_a_cluster_imports_the_same_though_a_worker_is_killed(
    ray_cluster: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, write = tmp_path / "killed", parts._write_part

    def dies_once(source: Any, info: Any, folder: Path, entries: Sequence[Any]) -> Any:
        part = write(source, info, folder, entries)
        if entries[0].file == "images/41.png" and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return part

    monkeypatch.setattr(parts, "_write_part", dies_once)
    monkeypatch.setattr(parts, "NUM_IMAGES", 20)
    here = import_dataset("photos", "here", config=LENIENT)
    there = import_dataset("photos", "there", config=LENIENT, ray_address=ray_cluster.address)
    assert killed.exists()
    assert there.quarantined == here.quarantined
    assert [image_id for image_id, _ in there.quarantined] == ["images/07.png", "masks/11.png"]
    assert there.model_dump(exclude={"name", "path", "num_shards"}) == here.model_dump(exclude={"name", "path", "num_shards"})
    assert (here.num_shards, there.num_shards) == (1, 5)
    assert _content(tmp_path / "data/there") == _content(tmp_path / "data/here")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["here", "there"], "what the dead worker wrote is gone"


def test_what_a_cluster_cannot_import_is_said(ray_cluster: Any, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sklearn:digits has no files that the nodes of a cluster could read"):
        import_dataset("sklearn:digits", "digits", ray_address=ray_cluster.address)
    with pytest.raises(ConfigError, match="--ray and --append were both said"):
        import_dataset("photos", "digits", mode="append", ray_address=ray_cluster.address)
    assert not (tmp_path / "data/digits").exists()


def test_sources_open_anew_in_another_process(photos: Path, tmp_path: Path, s3_bucket: str) -> None:
    boto3.client("s3").upload_file(str(photos / "images/00.png"), s3_bucket, "pets/images/00.png")
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(photos / "images/00.png", "photos/images/00.png")
        tar.add(photos / "masks/00.png", "photos/masks/00.png")
    for uri in ("photos", "photos.tar", f"s3://{s3_bucket}/pets"):
        code = "import pickle, sys; sys.stdout.buffer.write(b''.join(pickle.load(sys.stdin.buffer).read_many(['images/00.png'])))"
        sent = pickle.dumps(open_source(uri))
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", code], input=sent, cwd=elsewhere, env=environment, capture_output=True, check=False)
        assert done.stdout == (photos / "images/00.png").read_bytes(), (uri, done.stderr)
        assert not list(elsewhere.iterdir()), "nothing is kept there"
