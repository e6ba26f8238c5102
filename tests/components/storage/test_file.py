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


def test_a_listing_walks_its_prefixs_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(f"file://{tmp_path}")
    for key in ("digits/1/model", "digits/10/model", "digits/champion.json", "flowers/1/model"):
        store.put(key, b"")
    looked_at: set[str] = set()
    is_file = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: (looked_at.add(path.relative_to(tmp_path).parts[0]), is_file(path))[1])
    assert store.list("digits/1") == ["digits/1/model", "digits/10/model"]
    assert store.list("digits/1/") == ["digits/1/model"]
    assert store.list("digits/champion.json") == ["digits/champion.json"]
    assert store.list("nothing/here/") == []
    assert looked_at == {"digits"}


def test_what_a_killed_upload_left_is_not_listed(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    store.put("a", b"whole")
    (tmp_path / ".b.12345678.partial").write_bytes(b"ha")
    assert store.list("") == ["a"]
