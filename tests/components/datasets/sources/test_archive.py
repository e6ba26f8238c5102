from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.datasets.sources import archive, open_source
from components.datasets.sources.archive import ArchiveSource
from components.errors import DataError

FILES = {"cat/0.png": b"zero", "cat/1.png": bytes(3000), "dog/ä.png": b"", "labels.csv": b"x" * 600}


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _tar(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in more:
            tar.addfile(info)
    return buffer.getvalue()


def _zip(files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED, mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = method
            out.writestr(info, content)
    return buffer.getvalue()


def _source(content: bytes) -> ArchiveSource:
    Path("given").write_bytes(content)
    source = open_source("given")
    assert isinstance(source, ArchiveSource)
    return source


PACKED: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "tar": _tar,
    "tar.gz": lambda files: gzip.compress(_tar(files)),
    "tar.gz of two streams": lambda files: gzip.compress(_tar(files)[:700]) + gzip.compress(_tar(files)[700:]),
    "tar.bz2": lambda files: bz2.compress(_tar(files)),
    "tar.xz": lambda files: lzma.compress(_tar(files)),
    "tar.xz of two streams": lambda files: lzma.compress(_tar(files)[:700]) + lzma.compress(_tar(files)[700:]),
    "zip": _zip,
    "zip, stored": lambda files: _zip(files, method=zipfile.ZIP_STORED),
}


@pytest.mark.parametrize("kind", PACKED)
def test_every_file_comes_out_as_it_went_in(kind: str, tmp_path: Path) -> None:
    source = _source(PACKED[kind](FILES))
    assert source.files() == sorted(FILES)
    assert dict(zip(source.files(), source.read_many(source.files()), strict=True)) == FILES
    assert source.read("cat/1.png") == FILES["cat/1.png"]
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [tmp_path / "given"], "nothing is unpacked under a name"


def test_one_top_folder_is_no_part_of_the_names() -> None:
    below = {f"./pets-2024/{name}": content for name, content in FILES.items()}
    hidden = {"__MACOSX/pets-2024/._0.png": b"", ".DS_Store": b""}
    for pack in (_tar, _zip):
        assert _source(pack({**below, **hidden})).files() == sorted(FILES)
        assert _source(pack({"train/cat/0.png": b"", "train/dog/0.png": b""})).files() == ["train/cat/0.png", "train/dog/0.png"]
        assert _source(pack({"cat/0.png": b"", "cat/1.png": b""})).files() == ["cat/0.png", "cat/1.png"]
        assert _source(pack({"flat/0.png": b"", "flat/labels.csv": b""})).files() == ["0.png", "labels.csv"]


def _member(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def _latin_name() -> tarfile.TarInfo:
    return tarfile.TarInfo("\udce4.png")


def _encrypted() -> bytes:
    content = bytearray(_zip({"a.png": b"secret"}))
    content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


def _unmarked(content: bytes) -> bytes:
    """Take the flag away that says that names are UTF-8."""
    return content.replace(struct.pack("<H", 0x800), b"\0\0")


def _pax(size: int) -> bytes:
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)


REFUSED = {
    "tar that climbs": (_tar({"../a.png": b""}), r"'\.\./a\.png' leads outside"),
    "tar that climbs inside": (_tar({"cat/../../a.png": b""}), "leads outside"),
    "absolute in a tar": (_tar({"/etc/a.png": b""}), "leads outside"),
    "symlink in a tar": (_tar({}, _member("a.png", tarfile.SYMTYPE)), "'a.png' is a link"),
    "hard link in a tar": (_tar({}, _member("a.png", tarfile.LNKTYPE)), "is a link"),
    "device in a tar": (_tar({}, _member("a.png", tarfile.CHRTYPE)), "is a link, a device"),
    "pipe in a tar": (_tar({}, _member("a.png", tarfile.FIFOTYPE)), "is a link, a device"),
    "name in a tar that is not UTF-8": (_tar({"a.png": b""}, _latin_name()), "not UTF-8"),
    "twice in a tar": (_tar({"a.png": b"1"})[:1024] + _tar({"./a.png": b"2"}), "comes twice"),
    "tar that ends early": (_tar({"a.png": bytes(5000)})[:2000], "no archive that can be read: unexpected end of data"),
    "endless header": (_pax(8 * 2**30), r"a header of 8589934592 bytes"),
    "header that leads backwards": (_pax(-512), "a header of -512 bytes"),
    "gzip that ends early": (gzip.compress(_tar(FILES))[:100], "no archive that can be read"),
    "xz that ends early": (lzma.compress(_tar(FILES))[:100], "ends too early"),
    "gzip of something else": (gzip.compress(b"hello"), "no archive that can be read"),
    "zip that climbs": (_zip({"../a.png": b""}), "leads outside"),
    "zip that climbs as Windows does": (_zip({"..\\a.png": b""}), "leads outside"),
    "absolute in a zip": (_zip({"/a.png": b""}), "leads outside"),
    "a drive in a zip": (_zip({"C:\\a.png": b""}), "leads outside"),
    "link in a zip": (_zip({"a.png": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777), "is a link"),
    "encrypted": (_encrypted(), "'a.png' is encrypted"),
    "name in a zip that is not UTF-8": (_unmarked(_zip({"ä.png": b""})).replace("ä".encode(), b"\xe4\xe4"), "not UTF-8"),
    "bzip2 in a zip": (_zip({"a.png": b"1"}, method=zipfile.ZIP_BZIP2), "compressed by method 12"),
    "zip without a directory": (_zip({"a.png": b"1"})[:40], "without a directory"),
    "a file of text": (b"hello", "no archive that can be read"),
    "an empty file": (b"", "no archive that can be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_not_be_taken_is_refused_with_one_line_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    content, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as refused:
        _source(content)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("given")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "given"]


def test_a_name_twice_in_a_zip_is_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile("given", "w") as out:
        out.writestr("a.png", b"1")
        out.writestr("a.png", b"2")
    with pytest.raises(DataError, match=r"'a\.png' comes twice"):
        open_source("given")


def test_a_name_in_utf_8_that_is_not_marked_so_is_read() -> None:
    assert _source(_unmarked(_zip({"ä.png": b"1"}))).files() == ["ä.png"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
def test_a_bomb_is_refused_while_it_is_unpacked(pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(archive, "ALWAYS_TAKEN_BYTES", 2**20)
    content = pack(_tar({"a.png": bytes(20 * 2**20)}))
    with pytest.raises(DataError, match="refused as a bomb: it unpacks to more than"):
        _source(content)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "given"]


def test_a_zip_that_declares_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "ALWAYS_TAKEN_BYTES", 2**20)
    with pytest.raises(DataError, match="refused as a bomb"):
        _source(_zip({f"{index}.png": bytes(2**20) for index in range(10)}))
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 999)
    for pack in (_tar, _zip):
        with pytest.raises(DataError, match=r"'a\.png' declares 1,000 bytes; expected at most 999"):
            _source(pack({"a.png": bytes(1000)}))
    monkeypatch.setattr(archive, "MAX_DIRECTORY_BYTES", 10)
    with pytest.raises(DataError, match="its directory takes"):
        _source(_zip({"a.png": b""}))


@pytest.mark.parametrize(("declared", "message"), [(10, "Bad CRC-32"), (2**20, "declared, found")], ids=["less than it is", "more than it is"])
def test_a_member_that_lies_about_its_size_is_not_read_beyond_it(declared: int, message: str) -> None:
    content = bytearray(_zip({"a.png": bytes(100_000), "b.png": b"fine"}))
    for start, place in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        struct.pack_into("<L", content, content.index(start) + place, declared)
    source = _source(bytes(content))
    answers = list(source.read_many(["a.png", "b.png"]))
    assert isinstance(answers[0], DataError)
    assert message in str(answers[0])
    assert answers[1] == b"fine"


def test_a_damaged_member_is_told_in_its_place() -> None:
    content = _zip({"a.png": b"a" * 100, "b.png": b"fine"}, method=zipfile.ZIP_STORED).replace(b"a" * 100, b"b" * 100)
    first, second = _source(content).read_many(["a.png", "b.png"])
    assert isinstance(first, DataError)
    assert "a.png cannot be read: Bad CRC-32" in str(first)
    assert second == b"fine"


def test_names_that_are_not_in_it_are_refused() -> None:
    source = _source(_zip(FILES))
    with pytest.raises(DataError, match="leads outside"):
        source.read("../given")
    with pytest.raises(DataError, match="is not in given"):
        source.read("cat/9.png")


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_FILES", 3)
    for pack in (_tar, _zip):
        with pytest.raises(DataError, match="lists more than"):
            _source(pack(FILES))


@given(st.sampled_from(sorted(PACKED)), st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_mutated_archives_are_read_or_refused(kind: str, seed: int) -> None:
    chance = random.Random(seed)
    inner = kind.startswith("tar.gz") and chance.random() < 0.5  # damage beneath the checksum
    content = bytearray(_tar(FILES) if inner else PACKED[kind](FILES))
    for _ in range(chance.randint(1, 4)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    try:
        source = _source(zlib.compress(bytes(content), wbits=31) if inner else bytes(content))
    except DataError as error:
        assert "\n" not in str(error)
        return
    for answer in source.read_many(source.files()):
        assert isinstance(answer, (bytes, DataError))
