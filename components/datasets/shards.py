"""Image bytes in uncompressed tars: few large files, each image read by its position."""

from __future__ import annotations

import tarfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from components.datasets.manifest import SHARDS
from components.datasets.open_files import OpenFiles
from components.errors import DataError

MAX_SHARD_BYTES = 256 * 2**20
_BLOCK = tarfile.BLOCKSIZE
_BUFFER = 2**20
#: Where a ustar header has size and checksum (POSIX.1-2017, pax), and the header of an empty file without a name.
_SIZE, _CHECKSUM = slice(124, 136), slice(148, 156)
_EMPTY = tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT)
_EMPTY_SUM = sum(_EMPTY) - sum(_EMPTY[_CHECKSUM]) + 8 * ord(" ")


class ShardWriter:
    """Writes images byte for byte into `folder/shards/000000.tar` and so on; equal images give equal tars.

    Args:
        folder: The dataset.
        max_bytes: A shard that would grow above it is ended before.
        start: The number of the first shard: a version that adds images writes new shards after those there are, which stay as they are.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_SHARD_BYTES, start: int = 0) -> None:
        self.num_shards = start
        self._folder, self._max_bytes = folder / SHARDS, max_bytes
        self._file: BinaryIO | None = None
        self._shard, self._end = "", 0
        self._folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, content: bytes) -> tuple[str, int, int]:
        """Append one image.

        Args:
            name: Its name in the tar: the image's id.
            content: Its bytes.

        Returns:
            The shard's file name, and the offset and length of the bytes in it.
        """
        header = _header(name, len(content))
        if self._file and self._end + len(header) + len(content) + 3 * _BLOCK > self._max_bytes:
            self.close()
        if self._file is None:
            self._shard, self._end = f"{self.num_shards:06d}.tar", 0
            self._file = (self._folder / self._shard).open("wb", buffering=_BUFFER)
            self.num_shards += 1
        offset = self._end + len(header)
        padding = -len(content) % _BLOCK
        self._file.writelines((header, content, bytes(padding)))
        self._end = offset + len(content) + padding
        return self._shard, offset, len(content)

    def adopt(self, path: Path) -> str:
        """Take a whole shard, written elsewhere on the same file system, as the next one, and return its name here."""
        self.close()
        name = f"{self.num_shards:06d}.tar"
        path.rename(self._folder / name)
        self.num_shards += 1
        return name

    def close(self) -> None:
        """End the tar that is open."""
        if self._file:
            self._file.write(bytes(2 * _BLOCK))
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class ShardReader:
    """Reads images of a dataset by position; may be used by many threads at once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder / SHARDS, OpenFiles()

    def read(self, shard: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` of a shard.

        Raises:
            DataError: The shard is missing, or ends before these bytes do.
        """
        path = self._folder / shard
        try:
            content = self._files.read(path, offset, length)
        except FileNotFoundError:
            raise DataError(f"{path} not found, though the manifest names it; `dvc checkout` brings it back") from None
        if len(content) != length:
            raise DataError(f"{path} is truncated: {length} bytes expected at {offset}, found {len(content)}; `dvc checkout` brings it back")
        return content

    def close(self) -> None:
        """Close the shards."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _header(name: str, size: int) -> bytes:
    """Return what stands before a file in a tar; short names, which are most, go without `tarfile`, at a tenth of the time."""
    if len(name) > 100 or not name.isascii() or size >= 8**11:
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    named, sized = name.encode(), b"%011o" % size
    header = bytearray(_EMPTY)
    header[: len(named)] = named
    header[_SIZE] = sized + b"\0"
    total = _EMPTY_SUM + sum(named) + sum(sized) - sum(_EMPTY[_SIZE])
    header[_CHECKSUM] = b"%06o\0 " % total
    return bytes(header)
