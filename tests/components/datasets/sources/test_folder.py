from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.datasets.sources import folder, open_source
from components.errors import DataError


def test_names_are_sorted_and_hidden_ones_left_out(tmp_path: Path) -> None:
    for name in ("b/1.png", "a.png", ".hidden.png", ".git/a.png", "b/.DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    source = open_source(str(tmp_path))
    assert source.files() == ["a.png", "b/1.png"]
    assert list(source.read_many(source.files())) == [b"a.png", b"b/1.png"]


def test_nothing_outside_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    source = open_source(str(tmp_path / "in"))
    for name in ("../secret", str(tmp_path / "secret"), "a/../../secret", "a\0b", "C:/secret"):
        with pytest.raises(DataError, match="leads outside"):
            source.read(name)


def test_what_cannot_be_read_is_told_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    missing, found = open_source(str(tmp_path)).read_many(["gone", "a"])
    assert str(missing) == "gone cannot be read: No such file or directory"
    assert found == b"a"


def test_a_name_that_is_not_utf_8_is_listed_and_read(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe4.png")).write_bytes(b"content")
    source = open_source(str(tmp_path))
    assert source.files() == ["\udce4.png"]
    assert source.read("\udce4.png") == b"content"


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MAX_FILES", 1)
    for name in "ab":
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="lists more than"):
        open_source(str(tmp_path)).files()


def test_what_is_not_there_is_explained(tmp_path: Path) -> None:
    for uri in (str(tmp_path / "nowhere"), "gs://bucket/prefix"):
        with pytest.raises(DataError, match="not found; expected a folder, an archive, s3://"):
            open_source(uri)
