"""A version of a dataset, open to be read: from the working copy, from DVC's cache, or straight from its remote."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from components.datasets.dataset import Dataset
from components.datasets.manifest import DATASET, MANIFEST, SHARDS, parse_dataset, parse_manifest
from components.datasets.versions.objects import Objects, recorded
from components.datasets.versions.tags import find, parse_ref
from components.errors import DataError


def open_version(ref: str, project: Path = Path()) -> Dataset:
    """Open a version of a dataset; nothing touches image bytes until an image is asked for.

    Args:
        ref: NAME@v1.2.0, or NAME for the working copy data/NAME.
        project: The checkout.

    Raises:
        ConfigError: There is no such version; names those there are.
        DataError: Its bytes are neither in the cache nor in the remote.
        TransientError: The remote does not answer.
    """
    name, version = parse_ref(ref)
    if version is None:
        return Dataset.of_folder(project / "data" / name)
    found = find(project, name, version)
    return open_recorded(Objects(project), str(recorded(project, found.commit, name)["md5"]), found.ref)


def open_recorded(objects: Objects, md5: str, what: str) -> Dataset:
    """Open the dataset that a folder's object lists; `what` names it in errors."""
    files = objects.listing(md5)
    if missing := [file for file in (DATASET, MANIFEST) if file not in files]:
        raise DataError(f"{what} is no dataset: {missing[0]} is missing in it")
    info = parse_dataset(objects.read(files[DATASET]).decode("utf-8", "replace"), f"{what}: {DATASET}")
    table = parse_manifest(pa.BufferReader(objects.read(files[MANIFEST])), name=f"{what}: {MANIFEST}")
    return Dataset(info, table, ObjectShards(objects, files))


class ObjectShards:
    """Reads images by position from shards that are DVC's objects.

    Args:
        objects: Where they are.
        files: MD5 by path in the dataset's folder.
    """

    def __init__(self, objects: Objects, files: dict[str, str]) -> None:
        self.objects, self.files = objects, files

    def read(self, shard: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` of a shard; from the remote one range request.

        Raises:
            DataError: The version has no such shard.
        """
        md5 = self.files.get(f"{SHARDS}/{shard}")
        if md5 is None:
            raise DataError(f"the manifest names the shard {shard}, and the version has none; it was committed incomplete")
        return self.objects.read_range(md5, offset, length)

    def close(self) -> None:
        """Let go of what is open."""
        self.objects.close()
