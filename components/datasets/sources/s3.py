"""A bucket, or what lies under a prefix in it: `s3://BUCKET/PREFIX`.

Objects are read by several threads ahead of who asks for them, and kept under .darkroom/import/ until the import is complete, so that one
that was killed goes on where it was. An object that has changed in between has another ETag, and is read again.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from components.datasets.sources.names import MAX_FILES, is_hidden, leads_outside, too_many_files
from components.errors import DataError, InputError
from components.files import explaining_full_disk
from components.progress import bar
from components.protocols import ObjectInfo
from components.storage import open_store

log = logging.getLogger(__name__)

SCRATCH = Path(".darkroom/import")
NUM_THREADS = 16
#: As much is read ahead, in bytes and in objects.
_AHEAD_BYTES = 256 * 2**20
_AHEAD = 8 * NUM_THREADS


class S3Source:
    """The objects under a prefix.

    Args:
        uri: `s3://BUCKET/PREFIX`.
        by_name: Objects are read by the names that somebody else has listed: nothing is listed, and nothing is kept to go on with.

    Raises:
        ConfigError: The URI names no bucket.
    """

    def __init__(self, uri: str, by_name: bool = False) -> None:
        self.uri, self._by_name = uri, by_name
        self._store = open_store(uri)
        self._kept = SCRATCH / hashlib.sha256(uri.encode()).hexdigest()[:16]

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process read the objects that this one has listed."""
        return _opened_once, (self.uri,)

    def files(self) -> Sequence[str]:
        """Return the keys of all objects without the prefix, sorted, hidden ones and folder markers left out.

        Raises:
            InputError: The bucket is not there, or may not be listed.
            TransientError: The server fails, or does not answer.
        """
        return list(self._objects)

    def read(self, name: str) -> bytes:
        """Return an object's bytes.

        Raises:
            DataError: There is no such object, or it may not be read.
            TransientError: The server fails, or does not answer.
        """
        if self._by_name and not leads_outside(name):
            return self._got(name)
        found = self._objects.get(name)
        if found is None:
            raise DataError(f"the name {name} leads outside of {self.uri}" if leads_outside(name) else f"{name} is not in {self.uri}")
        path = self._path(found)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            pass
        content = self._got(name)
        partial = path.with_suffix(f".{threading.get_native_id()}.partial")
        with explaining_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content)
            partial.replace(path)
        return content

    def read_many(self, names: Iterable[str]) -> Iterator[bytes | DataError]:
        """Yield the objects' bytes in the order asked for, read ahead; an error in the place of one that cannot be read.

        Raises:
            TransientError: The server fails, or does not answer. What was read stays, and the next import goes on with it.
        """
        pool = ThreadPoolExecutor(NUM_THREADS)
        pending: deque[tuple[Future[bytes], int]] = deque()
        ahead = 0
        try:
            for name in names:
                size = 0 if self._by_name or name not in self._objects else self._objects[name].size
                while pending and (len(pending) >= _AHEAD or ahead + size > _AHEAD_BYTES):
                    first, freed = pending.popleft()
                    ahead -= freed
                    yield _result(first)
                pending.append((pool.submit(self.read, name), size))
                ahead += size
            while pending:
                yield _result(pending.popleft()[0])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def release(self) -> None:
        """Delete what was kept."""
        shutil.rmtree(self._kept, ignore_errors=True)

    def _got(self, name: str) -> bytes:
        try:
            return self._store.get(name)
        except InputError as error:
            raise DataError(str(error)) from None

    @cached_property
    def _objects(self) -> dict[str, ObjectInfo]:
        found: dict[str, ObjectInfo] = {}
        with bar(f"list {self.uri}", 0, "objects") as progress:
            for entry in self._store.entries(""):
                progress.update()
                if entry.key.endswith("/") or is_hidden(entry.key):
                    continue
                if leads_outside(entry.key):
                    raise DataError(f"{self.uri}: the key {entry.key!r} leads outside of it; rename the object")
                found[entry.key] = entry
                if len(found) > MAX_FILES:
                    raise too_many_files(self.uri)
        if not found:
            raise DataError(f"{self.uri} holds no objects; check the bucket's name and the prefix")
        kept = sum(1 for path in self._kept.glob("*/*") if path.suffix != ".partial")
        if kept:
            log.info("%s: %d of %d objects are there from an import that did not end; it goes on", self.uri, kept, len(found))
        return dict(sorted(found.items()))

    def _path(self, entry: ObjectInfo) -> Path:
        digest = hashlib.sha256(f"{entry.key}\n{entry.etag}".encode()).hexdigest()
        return self._kept / digest[:2] / digest[2:]


@cache
def _opened_once(uri: str) -> S3Source:
    return S3Source(uri, by_name=True)


def _result(future: Future[bytes]) -> bytes | DataError:
    try:
        return future.result()
    except DataError as error:
        return error
