"""An import by a Ray cluster: each node reads some of the images, and writes them into shards of their own, which become the dataset's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from components.datasets.manifest import DatasetInfo
from components.datasets.parallel import map_batches
from components.datasets.reading import Entry, Images
from components.datasets.rows import Part, Rows
from components.datasets.shards import MAX_SHARD_BYTES, ShardWriter
from components.errors import InputError
from components.protocols import Quarantined, Source

#: Images in a part: of photographs about one shard.
NUM_IMAGES = 2048


def written_on_cluster(images: Images, info: DatasetInfo, folder: Path, ray_address: str) -> Iterator[Part | Quarantined]:
    """Yield the images in order, a part at a time, as the cluster's nodes have written them; then what is lost.

    A part whose worker or node dies is written again elsewhere, into another folder.

    Args:
        images: At a source that every node can read.
        info: The dataset's.
        folder: Where they write: on the file system of the dataset, at the same path on every node.
        ray_address: The cluster.

    Raises:
        InputError: The nodes do not share the folder with this machine.
        ConfigError: Ray is not installed.
        TransientError: No cluster answers, or its workers keep dying.
    """
    work = partial(_write_part, images.source, info, folder)
    for part in map_batches(work, list(images.entries), NUM_IMAGES, 1, ray_address):
        if not part.folder.is_dir():
            raise InputError(f"--ray {ray_address}: a node wrote {part.folder}, which is not there; expected a folder that all share")
        yield part
    for lost in images.lost:
        yield from lost


def _write_part(source: Source, info: DatasetInfo, folder: Path, entries: Sequence[Entry]) -> Part:
    try:
        own = Path(tempfile.mkdtemp(dir=folder))
    except FileNotFoundError:
        raise InputError(f"--ray: a node of the cluster does not see {folder.parent}; expected a folder that all share") from None
    with ShardWriter(own, MAX_SHARD_BYTES) as shards:
        rows = Rows(info, shards, None, keep_damaged=False)
        for image in Images(source, entries):
            rows.add(image)
    return rows.part(own)
