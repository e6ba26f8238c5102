"""A folder as object store: `file:///absolute/path`, or `file://relative/path` from the current folder."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from components.errors import InputError
from components.files import explaining_full_disk, sha256_of
from components.protocols import ObjectInfo


class FileStore:
    """Objects as files; a file appears whole or not at all.

    Args:
        uri: `file://` and a path.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._root = Path(unquote(uri.removeprefix("file://"))).absolute()

    def put(self, key: str, content: bytes | Path) -> None:
        """Store under `key`, whole or not at all, verified by checksum; replaces what was there."""
        partial = self._write(key, content)
        partial.replace(self._path(key))

    def put_if_absent(self, key: str, content: bytes | Path) -> bool:
        """Store under `key` unless it exists; False if it does."""
        if self._path(key).exists():
            return False
        partial = self._write(key, content)
        try:
            os.link(partial, self._path(key))  # unlike a rename, a link refuses a name that is taken
        except FileExistsError:
            return False
        finally:
            partial.unlink()
        return True

    def get(self, key: str) -> bytes:
        """Return the content.

        Raises:
            InputError: There is no such key.
        """
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise InputError(f"{self.uri} has nothing under {key}") from None

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, without the rest.

        Raises:
            InputError: There is no such key, or it ends before these bytes do.
        """
        try:
            with self._path(key).open("rb") as file:
                file.seek(offset)
                content = file.read(length)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise InputError(f"{self.uri} has nothing under {key}") from None
        if len(content) != length:
            raise InputError(f"{self.uri}: {key} ends before byte {offset + length}; {length} bytes expected at {offset}, found {len(content)}")
        return content

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted."""
        folder = self._path(prefix.rpartition("/")[0])  # nothing outside of it begins with the prefix
        files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".partial"))
        keys = (path.relative_to(self._root).as_posix() for path in files)
        return sorted(key for key in keys if key.startswith(prefix))

    def entries(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what lies under the keys that begin with `prefix`, sorted by key."""
        for key in self.list(prefix):
            found = (self._root / key).stat()
            yield ObjectInfo(key, found.st_size, f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}")

    def _path(self, key: str) -> Path:
        path = (self._root / key).absolute()
        if not path.is_relative_to(self._root) or ".." in Path(key).parts:
            raise InputError(f"{key} is outside of {self.uri}")
        return path

    def _write(self, key: str, content: bytes | Path) -> Path:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            with explaining_full_disk(path):
                if isinstance(content, Path):
                    shutil.copyfile(content, partial)
                else:
                    partial.write_bytes(content)
            if isinstance(content, Path) and sha256_of(partial) != sha256_of(content):
                raise InputError(f"{content} changed, or the disk failed, while it was copied to {self.uri}")
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return partial


plugin = FileStore
