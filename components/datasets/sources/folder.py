"""A folder on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from components.datasets.sources.names import MAX_FILES, leads_outside, too_many_files
from components.errors import DataError


class FolderSource:
    """The files below a folder.

    Args:
        uri: The folder's path.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._root = Path(uri)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process of this machine, or of one that sees the same files, open it anew."""
        return FolderSource, (str(self._root.absolute()),)

    def files(self) -> Sequence[str]:
        """Return the names of all files below the folder, sorted, hidden ones left out."""
        return self._files

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            DataError: There is no such file, it cannot be read, or the name leads outside of the folder.
        """
        content = self._read(name)
        if isinstance(content, DataError):
            raise content
        return content

    def read_many(self, names: Iterable[str]) -> Iterator[bytes | DataError]:
        """Yield the files' bytes in the order asked for; an error in the place of one that cannot be read."""
        return (self._read(name) for name in names)

    def release(self) -> None:
        """Do nothing: nothing is kept."""

    @cached_property
    def _files(self) -> Sequence[str]:
        found: list[str] = []
        root = str(self._root)
        for where, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            prefix = os.path.relpath(where, root).replace(os.sep, "/") + "/"
            found += [(name if prefix == "./" else prefix + name) for name in names if not name.startswith(".")]
            if len(found) > MAX_FILES:
                raise too_many_files(self.uri)
        return sorted(found)

    def _read(self, name: str) -> bytes | DataError:
        if leads_outside(name):
            return DataError(f"the name {name} leads outside of {self.uri}")
        path = os.path.join(self._root, name)  # noqa: PTH118 - a Path for each of 60,000 files costs more than reading it
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                return file.read()
        except OSError as error:
            return DataError(f"{name} cannot be read: {error.strerror}")
