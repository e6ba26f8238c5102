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


def test_a_range_is_read_without_the_rest(store: ObjectStore) -> None:
    store.put("a", bytes(range(100)))
    assert store.get_range("a", 10, 5) == bytes(range(10, 15))
    assert store.get_range("a", 95, 5) == bytes(range(95, 100))
    assert store.get_range("a", 3, 0) == b""
    for offset in (97, 200):
        with pytest.raises(InputError, match="a ends before"):
            store.get_range("a", offset, 5)
    with pytest.raises(InputError, match="nothing under b"):
        store.get_range("b", 0, 1)


def test_a_listing_tells_sizes_and_what_has_changed(store: ObjectStore) -> None:
    for key, content in (("b/2", b"two"), ("b/10", b"ten!"), ("a", b"")):
        store.put(key, content)
    first = {entry.key: entry for entry in store.entries("b/")}
    assert [(entry.key, entry.size) for entry in first.values()] == [("b/10", 4), ("b/2", 3)]
    store.put("b/2", b"TWO")
    second = {entry.key: entry for entry in store.entries("b/")}
    assert second["b/10"] == first["b/10"]
    assert second["b/2"].etag != first["b/2"].etag


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
