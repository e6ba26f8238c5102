"""Released bundles in an object store, each an immutable version, and a pointer to the one in production.

NAME/VERSION-DIGEST/…              the bundle's files
NAME/VERSION-DIGEST/manifest.json  their checksums; written last: without it there is no release
NAME/champion.json                 which release is in production; replaced in one step

A reader goes from the pointer to the manifest to the files, and so never sees half a release. A publication that was killed goes on with the parts
that are not there; a release that is complete is never written again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import progress
from components.errors import DataError, InputError
from components.files import replacing, sha256_of
from components.protocols import ObjectStore
from components.registry.bundle import RECORD, checksums, verify
from components.registry.session import open_registry
from components.registry.versions import bundle_of, resolve
from components.storage import open_store

log = logging.getLogger(__name__)

_MANIFEST, _POINTER = "manifest.json", "champion.json"


@dataclass(frozen=True)
class Release:
    """A version in the object store.

    Attributes:
        key: NAME/VERSION-DIGEST.
        uploaded: Whether this call made it complete.
        moved: Whether this call moved the pointer.
    """

    name: str
    version: int
    uri: str
    key: str
    uploaded: bool
    moved: bool


def publish_champion(home: Path, name: str, uri: str) -> Release:
    """Bring the object store to what the registry says: the champion's bundle is there, and the pointer points to it.

    Args:
        home: The `.darkroom` folder; a relative `file://` is taken from the folder that holds it.
        name: The registered model.
        uri: The object store.

    Raises:
        InputError: There is no champion, or the store refuses.
        TransientError: The registry or the store is away.
    """
    with open_registry(home) as client:
        champion = resolve(client, f"{name}@champion")
        folder = bundle_of(home, champion)
    return publish(folder, name, champion.number, absolute(uri, home.parent))


def publish(folder: Path, name: str, version: int, uri: str) -> Release:
    """Put a bundle into an object store as a release, then point to it.

    Args:
        folder: The bundle.
        name: The registered model.
        version: Its number there.
        uri: The object store.
    """
    record = verify(folder)
    store = open_store(uri)
    key = f"{name}/{version}-{record.digest[:12]}"
    manifest = _json({"name": name, "version": version, "digest": record.digest, "files": _sizes(folder)})
    uploaded = not store.list(f"{key}/{_MANIFEST}")
    if uploaded:
        _upload(store, folder, key)
        store.put_if_absent(f"{key}/{_MANIFEST}", manifest)
    pointer = _json({"name": name, "version": version, "digest": record.digest, "release": key})
    moved = not store.list(f"{name}/{_POINTER}") or store.get(f"{name}/{_POINTER}") != pointer
    if moved:
        store.put(f"{name}/{_POINTER}", pointer)
    log.info("%s/%d is published at %s/%s%s", name, version, uri, key, "" if uploaded or moved else ": it was already")
    return Release(name, version, uri, key, uploaded, moved)


def fetch_champion(uri: str, name: str, out: Path) -> Path:
    """Fetch the release that is in production, every file checked; what whoever deploys calls.

    Args:
        uri: The object store.
        name: The registered model.
        out: The folder to write; complete or as it was.

    Raises:
        InputError: Nothing is published under this name.
        DataError: A file is not what the manifest says.
    """
    store = open_store(uri)
    if not store.list(f"{name}/{_POINTER}"):
        raise InputError(f"{uri} has no release of '{name}' in production: {name}/{_POINTER} is missing. `darkroom run` publishes one")
    key = str(json.loads(store.get(f"{name}/{_POINTER}"))["release"])
    files: dict[str, dict[str, Any]] = json.loads(store.get(f"{key}/{_MANIFEST}"))["files"]
    with replacing(out) as partial, progress.bar(f"fetch {key}", len(files), "files") as bar:
        for path, expected in files.items():
            content = store.get(f"{key}/{path}")
            if hashlib.sha256(content).hexdigest() != expected["sha256"]:
                raise DataError(f"{uri}/{key}/{path} is damaged: it is not what {_MANIFEST} says. Publish the version again under a new number")
            target = partial / path
            if not target.resolve().is_relative_to(partial.resolve()):
                raise DataError(f"{uri}/{key}/{_MANIFEST} names a file outside of the release: {path}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            bar.update()
        verify(partial)
    return out


def absolute(uri: str, root: Path) -> str:
    """Return a relative `file://` URI as seen from `root`; any other as it is."""
    path = uri.removeprefix("file://")
    return uri if path == uri or path.startswith("/") else f"file://{root.absolute() / path}"


def _upload(store: ObjectStore, folder: Path, key: str) -> None:
    files = _sizes(folder)
    there = set(store.list(f"{key}/"))
    with progress.bar(f"publish {key}", len(files), "files") as bar:
        for path, expected in files.items():
            part = f"{key}/{path}"
            if part not in there or hashlib.sha256(store.get(part)).hexdigest() != expected["sha256"]:
                store.put(part, folder / path)
            bar.update()


def _sizes(folder: Path) -> dict[str, dict[str, Any]]:
    sums = {**checksums(folder), RECORD: sha256_of(folder / RECORD)}
    return {path: {"sha256": sha256, "bytes": (folder / path).stat().st_size} for path, sha256 in sorted(sums.items())}


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps({"schema_version": 1, **content}, indent=2, sort_keys=True) + "\n").encode()
