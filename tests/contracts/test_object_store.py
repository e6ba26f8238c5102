"""Every object store keeps the same promises. A new one is added to `uri` below."""

from pathlib import Path

import pytest

from components.errors import ConfigError, InputError
from components.protocols import ObjectStore, plugin_names
from components.storage import open_store


@pytest.fixture(params=plugin_names("components.storage"))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "s3":
        return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/{tmp_path.name}")
    return open_store(f"file://{tmp_path}/objects")


def test_what_was_put_is_got(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"\x00\xff" * 70_000)
    store.put("a/part.bin", tmp_path / "part")
    store.put("a/text", b"one")
    store.put("a/text", b"two")
    assert store.get("a/part.bin") == (tmp_path / "part").read_bytes()
    assert store.get("a/text") == b"two"


def test_put_if_absent_keeps_the_first(store: ObjectStore) -> None:
    assert store.put_if_absent("a/manifest.json", b"first")
    assert not store.put_if_absent("a/manifest.json", b"second")
    assert store.get("a/manifest.json") == b"first"


def test_list_gives_keys_under_a_prefix_sorted(store: ObjectStore) -> None:
    assert store.list("") == []
    for key in ("b/2", "b/10", "a/x", "bb"):
        store.put(key, b"")
    assert store.list("b/") == ["b/10", "b/2"]
    assert store.list("") == ["a/x", "b/10", "b/2", "bb"]


def test_a_missing_key_is_named(store: ObjectStore) -> None:
    with pytest.raises(InputError, match="nothing under a/b"):
        store.get("a/b")


def test_only_one_of_many_writers_wins(store: ObjectStore) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: store.put_if_absent("lock", str(number).encode()), range(8)))
    assert sum(won) == 1
    assert store.get("lock") == str(won.index(True)).encode()


def test_an_unknown_scheme_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="There are: file, s3"):
        open_store("gs://bucket")
    with pytest.raises(ConfigError, match="begins with file://, s3://"):
        open_store("/just/a/path")
