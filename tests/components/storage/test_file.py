from pathlib import Path

import pytest

from components.errors import InputError
from components.storage import open_store


def test_a_relative_uri_is_taken_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("file://.darkroom/releases").put("digits/champion.json", b"{}")
    assert (tmp_path / ".darkroom" / "releases" / "digits" / "champion.json").read_bytes() == b"{}"
    assert open_store(f"file://{tmp_path}/.darkroom/releases").get("digits/champion.json") == b"{}"


def test_a_key_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="outside"):
        open_store(f"file://{tmp_path}/store").put("../escaped", b"")
    assert not (tmp_path / "escaped").exists()


def test_what_a_killed_upload_left_is_not_listed(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    store.put("a", b"whole")
    (tmp_path / ".b.12345678.partial").write_bytes(b"ha")
    assert store.list("") == ["a"]
