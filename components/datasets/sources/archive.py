"""An archive on this machine: .zip, .tar, or .tar compressed with gzip, bzip2 or xz. Told by its bytes, whatever its name.

Nothing of an archive is ever written under a name that it gives. A zip and a plain tar are read in place, by position. A compressed tar is
unpacked once into one nameless file under .darkroom/, which is gone when the process ends, however it ends.

An archive is untrusted. It is refused as a whole where a member is absolute or climbs with `..`, is a link, a device or a sparse file, is
encrypted, bears another member's name or one that is not UTF-8, where its directory is damaged, where it holds more than `MAX_FILES` files,
and where it is a bomb: a member is larger than `MAX_MEMBER_BYTES`, or all of them larger than `MAX_RATIO` times the archive and than
`ALWAYS_TAKEN_BYTES`. Bytes are counted as they come; what a header declares is believed only to refuse.

Where all files lie below one folder, that folder is no part of their names, unless it bears a split's name or may be the only class.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from components.datasets.reading import is_image, split_of
from components.datasets.sources.names import MAX_FILES, is_hidden, leads_outside, too_many_files
from components.errors import DataError
from components.files import explaining_full_disk
from components.progress import bar

MAX_MEMBER_BYTES = 2 * 2**30
#: Photographs hardly shrink, annotations about 20-fold; a bomb does a thousandfold.
MAX_RATIO = 200
ALWAYS_TAKEN_BYTES = 2**30
#: Of a zip's central directory: Python holds about 12 times as much in memory.
MAX_DIRECTORY_BYTES = 256 * 2**20
SCRATCH = Path(".darkroom/import")
_CHUNK = 2**20
_XZ_MEMORY = 256 * 2**20
#: Of one record of a tar that is not a member's bytes: a long name, a PAX header.
_MAX_TAR_RECORD = 2**20
_ZIP_STARTS = (b"PK\3\4", b"PK\5\6")
_ZIP_END, _ZIP64_END = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
_ZIP_ENCRYPTED, _ZIP_UTF8 = 0x1, 0x800
#: bzip2 and LZMA in a zip are not read: Python unpacks them without a bound.
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(ValueError, LookupError, ArithmeticError, RuntimeError),  # what the readers trip over in nonsense
)


class ArchiveSource:
    """The files in an archive.

    Args:
        uri: The archive's path.

    Raises:
        DataError: It is no archive of a kind that is read, or one that is refused.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        try:
            self._archive = _opened(uri)
        except _DAMAGE as error:
            raise DataError(f"{uri} is no archive that can be read: {_reason(error)}; expected .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz") from None
        self._entries = _without_top_folder({name: entry for name, entry in self._archive.entries.items() if not is_hidden(name)})
        self._files = sorted(self._entries)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process of this machine, or of one that sees the same files, open it anew, once."""
        return _opened_once, (str(Path(self.uri).absolute()),)

    def files(self) -> Sequence[str]:
        """Return the names of all files in the archive, sorted, hidden ones left out."""
        return self._files

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            DataError: There is no such file, or it is damaged.
        """
        if name not in self._entries:
            raise DataError(f"the name {name} leads outside of {self.uri}" if leads_outside(name) else f"{name} is not in {self.uri}")
        try:
            return self._archive.read(self._entries[name])
        except _DAMAGE as error:
            raise DataError(f"{name} cannot be read: {_reason(error)}") from None

    def read_many(self, names: Iterable[str]) -> Iterator[bytes | DataError]:
        """Yield the files' bytes in the order asked for; an error in the place of one that cannot be read."""
        for name in names:
            try:
                yield self.read(name)
            except DataError as error:
                yield error

    def release(self) -> None:
        """Do nothing: nothing is kept beyond this process."""


@cache
def _opened_once(uri: str) -> ArchiveSource:
    return ArchiveSource(uri)


class _Archive(Protocol):
    entries: dict[str, Any]

    def read(self, entry: Any) -> bytes: ...


class _Zip:
    def __init__(self, uri: str, file: BinaryIO) -> None:
        size = file.seek(0, os.SEEK_END)
        if (directory := _directory_bytes(file, size)) > MAX_DIRECTORY_BYTES:
            raise DataError(f"{uri}: its directory takes {directory:,} bytes; expected at most {MAX_DIRECTORY_BYTES:,}. Give it as .tar, or in parts")
        self._zip = zipfile.ZipFile(file)
        self.entries: dict[str, zipfile.ZipInfo] = {}
        members = _Members(uri, size)
        for info in self._zip.infolist():
            if info.is_dir():
                continue
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise DataError(f"{uri}: {_shown(info.filename)} is a link or a device; expected plain files")
            if info.flag_bits & _ZIP_ENCRYPTED:
                raise DataError(f"{uri}: {_shown(info.filename)} is encrypted; unpack it, and import the folder")
            if info.compress_type not in _ZIP_METHODS:
                raise DataError(f"{uri}: {_shown(info.filename)} is compressed by method {info.compress_type}; expected stored or deflated")
            self.entries[members.take(_zip_name(uri, info), info.file_size)] = info

    def read(self, entry: zipfile.ZipInfo) -> bytes:
        with self._zip.open(entry) as file:  # ends after the bytes that are declared, and compares their checksum
            content = file.read(entry.file_size)
            if len(content) != entry.file_size or file.read(1):
                raise EOFError(f"{entry.file_size} bytes declared, found {len(content)}")
        return content


class _Tar:
    def __init__(self, uri: str, file: BinaryIO, packed_bytes: int) -> None:
        self._file = file
        self.entries: dict[str, tuple[int, int]] = {}
        members = _Members(uri, packed_bytes)
        records: Any = _Records(file)
        tar: Any
        with tarfile.open(fileobj=records, mode="r:", encoding="utf-8", errors="surrogateescape") as tar, bar(f"list {uri}", 0, "files") as progress:
            for member in tar:
                tar.members.clear()  # else it remembers all of them
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise DataError(f"{uri}: {_shown(member.name)} is a link, a device or a sparse file; expected plain files")
                self.entries[members.take(member.name, member.size)] = member.offset_data, member.size
                progress.update()

    def read(self, entry: tuple[int, int]) -> bytes:
        offset, size = entry
        content = os.pread(self._file.fileno(), size, offset)
        if len(content) != size:
            raise EOFError(f"{size} bytes expected, found {len(content)}")
        return content


class _Members:
    """Judges the members of an archive one after another."""

    def __init__(self, uri: str, packed_bytes: int) -> None:
        self._uri, self._limit, self._total = uri, _limit(packed_bytes), 0
        self._names: set[str] = set()

    def take(self, name: str, size: int) -> str:
        """Return the name without `./`."""
        uri, shown = self._uri, _shown(name)
        if leads_outside(name):
            raise DataError(f"{uri}: the name {shown} leads outside of the archive; nothing of it is taken")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(f"{uri}: the name {shown} is not UTF-8; make the archive again with names in UTF-8") from None
        name = "/".join(part for part in name.split("/") if part not in ("", "."))
        if not name or name in self._names:
            raise DataError(f"{uri}: the name {shown} {'comes twice' if name else 'is empty'}; expected each once")
        self._names.add(name)
        if len(self._names) > MAX_FILES:
            raise too_many_files(uri)
        if not 0 <= size <= MAX_MEMBER_BYTES:
            raise DataError(f"{uri}: {shown} declares {size:,} bytes; expected at most {MAX_MEMBER_BYTES:,}")
        self._total += size
        if self._total > self._limit:
            raise _bomb(uri, self._limit)
        return name


class _Records:
    """The file beneath `tarfile`: refuses a header that would fill the memory, or that leads backwards."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_TAR_RECORD:
            raise tarfile.ReadError(f"a header of {size} bytes; expected at most {_MAX_TAR_RECORD}")
        return self._file.read(size)

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()


def _opened(uri: str) -> _Archive:
    file = Path(uri).open("rb")  # noqa: SIM115 - the source reads from it as long as it lives
    start = file.read(6)
    file.seek(0)
    if start.startswith(_ZIP_STARTS):
        return _Zip(uri, file)
    packed_bytes = os.fstat(file.fileno()).st_size
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")):
        with file:
            return _Tar(uri, _unpacked(uri, file, start, packed_bytes), packed_bytes)
    return _Tar(uri, file, packed_bytes)


def _unpacked(uri: str, packed: BinaryIO, start: bytes, packed_bytes: int) -> BinaryIO:
    """Return a nameless file with the tar that `packed` holds."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    out = tempfile.TemporaryFile(dir=SCRATCH)  # noqa: SIM115 - as above
    limit, total = _limit(packed_bytes), 0
    chunks = _gzip_chunks(packed) if start.startswith(b"\x1f\x8b") else _chunks(packed, bzip2=start.startswith(b"BZh"))
    with explaining_full_disk(SCRATCH), bar(f"unpack {uri}", packed_bytes // _CHUNK, "MiB") as progress:
        shown = 0
        for chunk in chunks:
            total += len(chunk)
            if total > limit:
                raise _bomb(uri, limit)
            out.write(chunk)
            progress.update(packed.tell() // _CHUNK - shown)
            shown = packed.tell() // _CHUNK
        out.flush()
    out.seek(0)
    return out


def _gzip_chunks(packed: BinaryIO) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=packed) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _chunks(packed: BinaryIO, bzip2: bool) -> Iterator[bytes]:
    """Yield what bzip2 or xz packed, a bounded piece at a time; streams may follow one another."""
    unused = b""
    while unused or (unused := packed.read(_CHUNK)):
        unpack: Any = bz2.BZ2Decompressor() if bzip2 else lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        while not unpack.eof:
            if unpack.needs_input and not unused and not (unused := packed.read(_CHUNK)):
                raise EOFError("it ends too early")
            chunk = unpack.decompress(unused if unpack.needs_input else b"", _CHUNK)
            unused = b""
            yield chunk
        unused = unpack.unused_data.lstrip(b"\0")  # xz pads its streams


def _directory_bytes(file: BinaryIO, size: int) -> int:
    """Return how long a zip says its central directory is (APPNOTE 4.3.14 and 4.3.16)."""
    file.seek(max(0, size - _ZIP_END.size - 0xFFFF))
    end = file.read()
    place = end.rfind(b"PK\5\6")
    if place < 0 or len(end) - place < _ZIP_END.size:
        raise zipfile.BadZipFile("it ends without a directory")
    length = int(_ZIP_END.unpack_from(end, place)[5])
    if length != 0xFFFFFFFF:
        return length
    start = end.rfind(b"PK\6\6", 0, place)
    if start < 0:
        raise zipfile.BadZipFile("it ends without a directory")
    return int(_ZIP64_END.unpack_from(end, start)[8])


def _zip_name(uri: str, info: zipfile.ZipInfo) -> str:
    """Return a member's name: UTF-8 also where it is not marked so (APPNOTE says code page 437, most programs write UTF-8)."""
    name = info.filename
    if not info.flag_bits & _ZIP_UTF8 and not name.isascii():
        try:
            name = name.encode("cp437").decode()
        except UnicodeDecodeError:
            raise DataError(f"{uri}: the name {_shown(name)} is not UTF-8; make the archive again with names in UTF-8") from None
    return name.replace("\\", "/")


def _without_top_folder(entries: dict[str, Any]) -> dict[str, Any]:
    tops = {name.partition("/")[0] for name in entries}
    inner = {name.partition("/")[2]: entry for name, entry in entries.items()}
    if len(tops) != 1 or "" in inner or split_of(*tops) or all("/" not in name and is_image(name) for name in inner):
        return entries
    return inner


def _limit(packed_bytes: int) -> int:
    return max(ALWAYS_TAKEN_BYTES, MAX_RATIO * packed_bytes)


def _bomb(uri: str, limit: int) -> DataError:
    return DataError(f"{uri} is refused as a bomb: it unpacks to more than {limit:,} bytes, {MAX_RATIO} times its size")


def _shown(name: str) -> str:
    return repr(name if len(name) < 100 else name[:97] + "…")


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
