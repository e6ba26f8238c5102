"""A Ray cluster for the tests that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """A head and a second node, one processor each, on this machine."""
    pytest.importorskip("ray", reason="Ray is not installed: it is optional")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # no worker is killed but by the tests, and none has to be there soon
    os.environ.update(RAY_memory_monitor_refresh_ms="0", RAY_raylet_start_wait_time_s="600", RAY_worker_register_timeout_seconds="600")
    import ray
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster: Any = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(**node)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
