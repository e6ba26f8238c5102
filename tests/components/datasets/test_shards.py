from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.datasets.shards import ShardReader, ShardWriter, _header
from components.errors import DataError


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_every_image_comes_back_byte_for_byte_and_any_tar_reads_it(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("shards")
    with ShardWriter(folder, max_bytes=6000) as writer:
        places = [writer.add(f"{'long/' * 40}{index}.png", content) for index, content in enumerate(contents)]
    with ShardReader(folder) as reader:
        assert [reader.read(*place) for place in places] == contents
    found = {}
    for path in sorted((folder / "shards").iterdir()):
        with tarfile.open(path) as tar:
            assert path.stat().st_size <= 6000 or len(tar.getmembers()) == 1
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                found[member.name] = (file.read(), member.mtime)
    assert found == {f"{'long/' * 40}{index}.png": (content, 0) for index, content in enumerate(contents)}


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=130), st.integers(0, 2**34))
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    assert _header(name, size) == info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def test_a_grown_dataset_keeps_its_full_shards(tmp_path: Path) -> None:
    contents = [bytes([index]) * 1000 for index in range(8)]
    for name, count in (("young", 5), ("grown", 8)):
        with ShardWriter(tmp_path / name, max_bytes=4096) as writer:
            for index in range(count):
                writer.add(str(index), contents[index])
    assert (tmp_path / "young/shards/000000.tar").read_bytes() == (tmp_path / "grown/shards/000000.tar").read_bytes()


def test_a_shard_that_is_missing_or_cut_off_is_named(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer:
        shard, offset, length = writer.add("a", b"x" * 1000)
    with ShardReader(tmp_path) as reader, pytest.raises(DataError, match=r"000007\.tar not found"):
        reader.read("000007.tar", 0, 1)
    path = tmp_path / "shards" / shard
    path.write_bytes(path.read_bytes()[: offset + 10])
    with ShardReader(tmp_path) as reader, pytest.raises(DataError, match="is truncated: 1000 bytes expected"):
        reader.read(shard, offset, length)
