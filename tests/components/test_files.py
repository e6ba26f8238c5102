"""An output is complete or absent, and what was there before survives a failure."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from components.errors import InputError
from components.files import replacing, sha256_of, spreadsheet_safe


def write_folder(path: Path, text: str) -> None:
    path.mkdir()
    (path / "inside").write_text(text)


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "models" / "base"
    with replacing(out) as new:
        write_folder(new, "old")
    with pytest.raises(RuntimeError), replacing(out) as new:
        write_folder(new, "half")
        raise RuntimeError
    assert (out / "inside").read_text() == "old"
    assert [path.name for path in out.parent.iterdir()] == ["base"]


def test_success_replaces_a_folder_and_a_file(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with replacing(tmp_path / "folder") as new:
            write_folder(new, text)
        with replacing(tmp_path / "file") as new:
            new.write_text(text)
    assert (tmp_path / "folder" / "inside").read_text() == "second"
    assert (tmp_path / "file").read_text() == "second"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the disk is full"), replacing(tmp_path / "out") as new:
        new.write_text("part")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4, example of "abc"


def test_formulas_become_text() -> None:
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "cat-1", "a=b", ""]
    assert [spreadsheet_safe(text) for text in texts] == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "'  =1", "cat-1", "a=b", ""]
