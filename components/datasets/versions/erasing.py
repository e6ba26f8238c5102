"""Images written over in shards, and states of a dataset without them: the surgery behind `darkroom data forget`."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.datasets.manifest import MANIFEST, SHARDS, write_table
from components.datasets.versions.objects import Objects, key_of
from components.progress import bar

_NAME = "forgotten"
_PLACES = (("shard", "offset"), ("mask_shard", "mask_offset"))


@dataclass(frozen=True)
class State:
    """A dataset as one commit's .dvc file names it.

    Attributes:
        md5: Of the folder's object.
        files: MD5 by path in the folder.
        table: The manifest.
        rows: The rows that have to go, int64; a state may hold bytes of images that its manifest does not name any more.
    """

    md5: str
    files: dict[str, str]
    table: pa.Table
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rebuilt:
    """A state without the images.

    Attributes:
        md5: Of the folder's object.
        manifest_md5: Of the manifest.
        manifest_sha256: Of the manifest.
        table: The manifest.
        growth: Bytes by which the folder grew; negative.
    """

    md5: str
    manifest_md5: str
    manifest_sha256: str
    table: pa.Table
    growth: int


def places(states: Iterable[State], ids: Iterable[str], objects: Objects) -> dict[str, set[int]]:
    """Return where in which shards, by their MD5, bytes start that have to go.

    Also shards on this machine with a member of an image's name are among them: bytes that no manifest names any more.
    """
    found: dict[str, set[int]] = {}
    states = list(states)
    for state in states:
        for columns in _PLACES:
            values = (state.table.column(name).take(pa.array(state.rows)).to_pylist() for name in columns)
            for file, start in zip(*values, strict=True):
                if file is not None:
                    found.setdefault(state.files[f"{SHARDS}/{file}"], set()).add(int(start))
    names = member_names(ids)
    for md5 in {md5 for state in states for path, md5 in state.files.items() if path.startswith(f"{SHARDS}/")} - found.keys():
        path = objects.path(md5)
        if path is not None and any(member.name in names for member in _members(path)):
            found[md5] = set()
    return found


def member_names(ids: Iterable[str]) -> set[str]:
    """Return the names that images and their masks have in shards."""
    return {name for image_id in ids for name in (image_id, f"{image_id}.mask.png")}


def erased_shards(starts: dict[str, set[int]], names: set[str], objects: Objects, description: str) -> dict[str, str]:
    """Write shards anew into DVC's cache with zeros where the images were; returns the new MD5 by the old one."""
    objects.cache.mkdir(parents=True, exist_ok=True)
    erased = {}
    with tempfile.TemporaryDirectory(dir=objects.cache) as scratch, bar(description, len(starts), "shards") as progress:
        for md5 in sorted(starts):
            copy = Path(scratch) / md5
            objects.copy(md5, copy)
            _erase(copy, starts[md5], names)
            erased[md5] = keep(objects, copy)
            progress.update()
    return erased


def rebuild(state: State, shards: dict[str, str], objects: Objects) -> Rebuilt:
    """Put a state without its images into DVC's cache; `shards` is what `erased_shards` returned."""
    kept = np.ones(state.table.num_rows, dtype=np.bool_)
    kept[state.rows] = False
    table = state.table.filter(pa.array(kept)) if len(state.rows) else state.table
    old = objects.read(state.files[MANIFEST])
    with tempfile.TemporaryDirectory(dir=objects.cache) as folder:
        manifest = Path(folder) / MANIFEST
        if len(state.rows):
            write_table(table, manifest)
        else:
            manifest.write_bytes(old)
        content = manifest.read_bytes()
        manifest_md5 = keep(objects, manifest)
        files = {path: shards.get(md5, md5) for path, md5 in state.files.items()} | {MANIFEST: manifest_md5}
        listing = Path(folder) / "listing"  # as DVC writes it: the same folder has the same MD5
        listing.write_bytes(json.dumps([{"md5": files[path], "relpath": path} for path in sorted(files)], sort_keys=True).encode())
        md5 = keep(objects, listing, ".dir")
    return Rebuilt(md5, manifest_md5, hashlib.sha256(content).hexdigest(), table, len(content) - len(old))


def keep(objects: Objects, path: Path, suffix: str = "") -> str:
    """Move a file, on the cache's own disk, into DVC's cache and return its MD5."""
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() + suffix
    place = objects.cache / key_of(md5)
    place.parent.mkdir(parents=True, exist_ok=True)
    path.chmod(0o444)
    path.replace(place)
    return md5


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    with tarfile.open(path, "r:") as tar:
        yield from tar


def _erase(path: Path, starts: set[int], names: set[str]) -> None:
    """Write over members of a tar, their headers included; every other byte stays where it is."""
    doomed = [member for member in _members(path) if member.offset_data in starts or member.name in names]
    with path.open("r+b") as file:
        for member in doomed:
            end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            empty = tarfile.TarInfo(_NAME)
            empty.size = end - member.offset - tarfile.BLOCKSIZE
            file.seek(member.offset)
            file.write(empty.tobuf(tarfile.USTAR_FORMAT))
            file.write(bytes(empty.size))
