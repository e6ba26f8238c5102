"""Work on many images with all processors, results in order, memory bounded; where they are not enough, with a Ray cluster.

Threads, because Pillow and NumPy let go of the interpreter while they decode and compute, and no process has to import everything
again. Small images spend their time in the interpreter, where two threads only get in each other's way (CIFAR-10: 195 µs an image
with one, 320 with two): one thread then.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pandas as pd

from components.errors import ConfigError, TransientError

Item = TypeVar("Item")
Result = TypeVar("Result")
Pending = TypeVar("Pending")


_SMALL = 128 * 128
#: How often a batch is tried again whose worker died, before the work is given up.
_MAX_RETRIES = 5
_PENDING_FOR_EACH_WORKER = 2
_KNOCK_TIMEOUT_S = 10


def num_threads_for(frame: pd.DataFrame) -> int:
    """Return how many threads decode the images of a manifest fastest."""
    small = (frame["height"].astype("float64") * frame["width"].astype("float64")).median() < _SMALL
    return 1 if small else os.cpu_count() or 1


def map_batches(
    function: Callable[[Sequence[Item]], Result], items: Sequence[Item], batch_size: int, num_threads: int, ray_address: str | None = None
) -> Iterator[Result]:
    """Yield `function(batch)` of consecutive batches of `items`, in order; the first error ends it.

    Args:
        function: Called from several threads at once. On Ray: a function that pickles (of a module, or a `functools.partial` of one;
            no open file, no lock), that gives the same when it is called again, and that names files by paths that every node knows.
        items: Cut into batches. On Ray they are pickled.
        batch_size: Items in a batch, the last one may hold fewer.
        num_threads: 1: the work is done where the results are asked for. Not used on Ray.
        ray_address: A Ray cluster, `HOST:PORT` or `auto`, on whose nodes Darkroom is installed; a batch whose worker or node dies is done
            again elsewhere. None: threads of this process.

    Raises:
        ConfigError: Ray is not installed.
        TransientError: No cluster answers, or its workers keep dying.
    """
    batches = (items[start : start + batch_size] for start in range(0, len(items), batch_size))
    if ray_address is not None:
        return _on_ray(function, batches, ray_address)
    return map(function, batches) if num_threads == 1 else _in_threads(function, batches, num_threads)


def _in_threads(function: Callable[[Sequence[Item]], Result], batches: Iterable[Sequence[Item]], num_threads: int) -> Iterator[Result]:
    pool = ThreadPoolExecutor(num_threads)
    try:
        yield from _in_order(
            (pool.submit(function, batch) for batch in batches), lambda future: future.result(), _PENDING_FOR_EACH_WORKER * num_threads
        )
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _on_ray(function: Callable[[Sequence[Item]], Result], batches: Iterable[Sequence[Item]], address: str) -> Iterator[Result]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray as _ray
    except ImportError:
        raise ConfigError(f"--ray {address}: Ray is not installed; `pip install 'darkroom[ray]'` adds it") from None
    ray: Any = _ray  # not all of it has types
    started = not ray.is_initialized()
    if started:
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            raise TransientError(f"no Ray cluster answers at {address}: {' '.join(str(error).split())}. `ray status` tells of a cluster") from None
    try:
        task = ray.remote(max_retries=_MAX_RETRIES)(lambda batch: function(batch))  # noqa: PLW0108 - Ray takes no partial
        num_workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        yield from _in_order(
            (task.remote(batch) for batch in batches), lambda reference: _got(ray, reference), _PENDING_FOR_EACH_WORKER * num_workers
        )
    finally:
        if started:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError at once where nothing listens: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_KNOCK_TIMEOUT_S).close()


def _got(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise TransientError(f"the Ray cluster lost a batch, {_MAX_RETRIES} times over: {' '.join(str(error).split())[:300]}") from None


def _in_order(submitted: Iterable[Pending], result: Callable[[Pending], Result], max_pending: int) -> Iterator[Result]:
    """Yield the results of work in the order it is submitted in, which goes on as far as `max_pending` ahead."""
    pending: deque[Pending] = deque()
    for work in submitted:
        pending.append(work)
        if len(pending) > max_pending:
            yield result(pending.popleft())
    while pending:
        yield result(pending.popleft())
