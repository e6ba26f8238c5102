"""What a person sees of an untrusted source: one clear line and exit code 2, nothing written, whatever it is.

What each reader refuses is tested beside it; here the command itself is run, on one of each kind.
"""

from __future__ import annotations

import gzip
import io
import os
import resource
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.datasets.formats import table
from components.datasets.importing import ImportConfig, import_dataset
from components.datasets.sources import archive
from components.datasets.sources.folder import FolderSource
from components.errors import DataError, InputError


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def _tar(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, what in ((f"cat/{index}.png", _png()) for index in range(2)):
            info = tarfile.TarInfo(path)
            info.size = len(what)
            tar.addfile(info, io.BytesIO(what))
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, "../../secret", len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _zip(name: str, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("cat/0.png", _png())
        out.writestr(name, content)
    return buffer.getvalue()


def _file(name: str, content: Callable[[], bytes]) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / name).write_bytes(content())
        return str(folder / name)

    return make


def _folder(name: str, content: bytes) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / "photos").mkdir()
        (folder / "photos/0.png").write_bytes(_png())
        (folder / "photos" / name).write_bytes(content)
        return str(folder / "photos")

    return make


def _undecodable_names(folder: Path) -> str:
    for index in range(3):
        path = os.fsencode(folder) + b"/photos/cat/\xff%d.png" % index
        Path(os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(_png())
    return str(folder / "photos")


def _pixel_bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


SOURCES: dict[str, tuple[Callable[[Path], str], str]] = {
    "a tar that climbs": (_file("a.tar", lambda: _tar("../../escaped.png")), "leads outside"),
    "a tar with an absolute name": (_file("a.tar", lambda: _tar("/tmp/escaped.png")), "leads outside"),
    "a tar with a link": (_file("a.tar.gz", lambda: gzip.compress(_tar("cat/2.png", tarfile.SYMTYPE))), "is a link"),
    "a zip that climbs": (_file("a.zip", lambda: _zip("../../escaped.png")), "leads outside"),
    "a gzip bomb": (_file("a.tar.gz", lambda: gzip.compress(_tar("cat/2.png", content=bytes(40 * 2**20)))), "refused as a bomb"),
    "a zip bomb": (_file("a.zip", lambda: _zip("cat/2.png", bytes(40 * 2**20))), "refused as a bomb"),
    "a table with a broken quote": (_folder("labels.csv", b'image,label\n0.png,"cat\n'), r"labels\.csv, line 2"),
    "a table of paths outside": (_folder("labels.csv", b"image,label\n../a.tar,cat\n/etc/passwd,cat\n"), "leads outside of the source"),
    "a table with a NUL": (_folder("labels.csv", b"image,label\n0.png,c\0t\n"), "NUL byte"),
    "names that are not UTF-8": (_undecodable_names, "no text in UTF-8"),
    "an image that is a bomb": (_file("a.zip", lambda: _zip("dog/1.png", _pixel_bomb())), "decompression bomb"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_it_is_refused_with_one_line_and_nothing_is_written(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(archive, "ALWAYS_TAKEN_BYTES", 20 * 2**20)
    make, message = SOURCES[case]
    given = tmp_path / "given"
    given.mkdir()
    source = make(given)
    work = tmp_path / "a/b/work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=message) as refused:
        import_dataset(source, "pets", Path("data"), config=ImportConfig())
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not Path("/tmp/escaped.png").exists()
    assert capfd.readouterr() == ("", "")


def test_a_table_of_millions_of_rows_is_refused_in_the_memory_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Parquet file of a few kB with 3,000,000 rows, each naming an image."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3_000_000, np.int8)), pa.array(["a.png"]))
    (tmp_path / "photos").mkdir()
    pq.write_table(pa.table({"image": column}), tmp_path / "photos/labels.parquet")
    assert (tmp_path / "photos/labels.parquet").stat().st_size < 50_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="the image comes twice"):
        import_dataset(str(tmp_path / "photos"), "pets", tmp_path / "data")
    monkeypatch.setattr(table, "MAX_ROWS", 2_000_000)
    with pytest.raises(DataError, match=r"has 3,000,000 rows; expected at most 2,000,000"):
        import_dataset(str(tmp_path / "photos"), "pets", tmp_path / "data")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000, "kB"


def test_more_images_than_are_allowed_are_refused_before_one_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/0.png").write_bytes(_png())
    (tmp_path / "photos/labels.csv").write_text("image,label\n" + "".join(f"{index}.png,cat\n" for index in range(200_000)))
    read: list[str] = []
    folder_read = FolderSource._read
    monkeypatch.setattr(FolderSource, "_read", lambda self, name: read.append(name) or folder_read(self, name))
    with pytest.raises(DataError, match=r"lists 200,000 images; expected at most import\.max_images = 1,000"):
        import_dataset(str(tmp_path / "photos"), "pets", tmp_path / "data", config=ImportConfig(max_images=1000))
    assert not (tmp_path / "data").exists()
    assert set(read) == {"labels.csv"}
