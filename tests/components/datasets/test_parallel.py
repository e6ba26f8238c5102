from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pandas as pd
import pytest

from components.datasets.parallel import map_batches, num_threads_for


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

    with pytest.raises(ValueError, match="third"):
        list(map_batches(work, range(1000), 1, 2))
    assert len(begun) < 20
    assert threading.active_count() < 10


def test_small_images_take_one_thread() -> None:
    assert num_threads_for(pd.DataFrame({"height": [32, None], "width": [32, None]}, dtype="Int32")) == 1
