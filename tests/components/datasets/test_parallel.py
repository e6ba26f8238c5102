from __future__ import annotations

import functools
import io
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from components.datasets.checks import files
from components.datasets.formats.sklearn import digits
from components.datasets.headers import open_image
from components.datasets.manifest import DatasetInfo
from components.datasets.parallel import map_batches, num_threads_for
from components.datasets.shards import ShardReader, ShardWriter
from components.datasets.writing import write_dataset
from components.errors import ConfigError, DataError, TransientError


@pytest.mark.parametrize("num_threads", [1, 4])
def test_results_come_in_order_and_each_item_once(num_threads: int) -> None:
    def work(batch: Sequence[int]) -> list[int]:
        time.sleep(0.002 * (batch[0] % 3))
        return list(batch)

    assert [item for batch in map_batches(work, range(103), 5, num_threads) for item in batch] == list(range(103))


def test_little_is_done_ahead_and_the_first_error_ends_it() -> None:
    begun: list[int] = []

    def work(batch: Sequence[int]) -> int:
        begun.append(batch[0])
        if batch[0] == 3:
            raise ValueError("third")
        return batch[0]

    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="third"):
        list(map_batches(work, range(1000), 1, 2))
    assert len(begun) < 20
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("ThreadPoolExecutor")]


def test_small_images_take_one_thread() -> None:
    assert num_threads_for(pd.DataFrame({"height": [32, None], "width": [32, None]}, dtype="Int32")) == 1


def _probe(folder: Path, places: Sequence[tuple[str, int, int]]) -> list[Any]:
    with ShardReader(folder) as shards:
        return [open_image(shards.read(*place)).size for place in places]


def test_a_cluster_gives_the_same_though_a_worker_is_killed_and_a_node_goes(ray_cluster: Any, tmp_path: Path) -> None:
    places = []
    with ShardWriter(tmp_path) as writer:
        for index in range(200):
            buffer = io.BytesIO()
            Image.new("RGB", (index + 1, 5)).save(buffer, "PNG")
            places.append(writer.add(f"{index}.png", buffer.getvalue()))

    def probe(batch: Sequence[tuple[str, int, int]]) -> list[Any]:
        with ShardReader(tmp_path) as shards:
            found = [open_image(shards.read(*place)).size for place in batch]
        killed = tmp_path / "killed"
        if found[0][0] == 101 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return found

    expected = [size for batch in map_batches(functools.partial(_probe, tmp_path), places, 5, 1) for size in batch]
    got: list[Any] = []
    for number, batch in enumerate(map_batches(probe, places, 5, 1, ray_address=ray_cluster.address)):
        got += batch
        if number == 25:
            ray_cluster.remove_node(ray_cluster.list_all_nodes()[1], allow_graceful=False)
    assert (tmp_path / "killed").exists()
    assert got == expected
    assert [width for width, _ in got] == list(range(1, 201))


def test_an_error_on_the_cluster_is_the_one_that_was_raised_there(ray_cluster: Any) -> None:
    def refuse(batch: Sequence[int]) -> int:
        raise DataError(f"image {batch[0]} is damaged")

    with pytest.raises(DataError, match=r"^image 0 is damaged$"):
        list(map_batches(refuse, range(3), 1, 1, ray_address=ray_cluster.address))


def test_a_cluster_that_is_not_there_and_ray_that_is_not_installed_are_said(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{closed_port}"
    with pytest.raises(TransientError, match=f"no Ray cluster answers at {address}"):
        list(map_batches(len, range(3), 1, 1, ray_address=address))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'darkroom\[ray\]'"):
        list(map_batches(len, range(3), 1, 1, ray_address=address))


def test_a_check_typed_with_ray_gives_the_same_though_a_worker_is_killed(
    ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.cli import main

    ray_cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)  # for the one that a test above took away
    shutil.copy(Path(__file__).parents[3] / "params.yaml", tmp_path)
    info = DatasetInfo(name="digits", version="1.0.0", task="classification", classes=[str(digit) for digit in range(10)])
    write_dataset(islice(digits(), 400), info, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    killed = tmp_path / "killed"

    def map_killing_once(work: Callable[[Any], Any], items: Any, batch_size: int, num_threads: int, ray_address: str | None) -> Iterator[Any]:
        def killed_once(batch: Any) -> Any:
            with suppress(FileExistsError):
                killed.touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
            return work(batch)

        return map_batches(killed_once if ray_address else work, items, batch_size, num_threads, ray_address)

    monkeypatch.setattr(files, "map_batches", map_killing_once)
    assert main(["data", "check", "digits", "--against", "none", "--ray", ray_cluster.address]) == 0
    assert killed.exists()
    Path("reports/check/digits").rename("on-ray")
    assert main(["data", "check", "digits", "--against", "none"]) == 0
    on_ray, here = (line for line in capsys.readouterr().out.splitlines() if line.startswith("digits 1.0.0"))  # Ray tells of the dead worker, too
    assert on_ray == here
    for name in ("verdict.json", "failures.csv", "measurements.parquet", "near_duplicates.parquet"):
        assert Path("on-ray", name).read_bytes() == Path("reports/check/digits", name).read_bytes()
