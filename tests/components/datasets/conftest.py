"""A Ray cluster for the tests that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """A head and a second node, one processor each, on this machine."""
    pytest.importorskip("ray", reason="Ray is not installed: it is optional")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_memory_monitor_refresh_ms"] = "0"  # noqa: SIM112 - its name; no worker is killed but by the tests
    for wait in ("gcs_server_port_wait_time_s", "gcs_server_request_timeout_seconds", "raylet_start_wait_time_s", "worker_register_timeout_seconds"):
        os.environ[f"RAY_{wait}"] = "600"  # none has to be there soon
    import ray
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster: Any = Cluster()
    cluster._wait_for_node = partial(cluster._wait_for_node, timeout=600)
    cluster.add_node(**node)  # the head
    cluster.add_node(**node)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
