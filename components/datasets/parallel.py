"""Work on many images with all processors, results in order, memory bounded.

Threads: Pillow and NumPy let go of the interpreter while they decode and compute, and no process has to import everything again.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_batches(function: Callable[[Sequence[Item]], Result], items: Sequence[Item], batch_size: int) -> Iterator[Result]:
    """Yield `function(batch)` of consecutive batches of `items`, in order; the first error ends it.

    Args:
        function: Called from several threads at once.
        items: Cut into batches.
        batch_size: Items in a batch, the last one may hold fewer.
    """
    num_threads = os.cpu_count() or 1
    pool = ThreadPoolExecutor(num_threads)
    pending: deque[Future[Result]] = deque()
    try:
        for start in range(0, len(items), batch_size):
            pending.append(pool.submit(function, items[start : start + batch_size]))
            if len(pending) > 2 * num_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
