from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.datasets.open_files import OpenFiles


def num_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_more_files_than_may_be_open_are_read_by_many_threads(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number:03}" for number in range(60)]
    for path in paths:
        path.write_bytes(path.name.encode() * 1000)
    before, files = num_open(), OpenFiles(most=3)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda path: files.read(path, 3, 6), paths * 20))
    assert found == [path.name.encode() * 2 for path in paths * 20]
    assert num_open() <= before + 3
    assert files.read(paths[0], 2999, 10) == b"0"
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "none", 0, 1)
    files.close()
    assert num_open() == before
