"""Manifests of rows that no image stands behind, an S3 server that fails as it is told to, and a Ray cluster."""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from components.datasets.manifest import ANNOTATIONS, COLUMNS, metadata_columns, write_table


def write_manifest(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as a manifest; the columns that it lacks are null."""
    kinds = {**COLUMNS, **dict.fromkeys(metadata_columns(frame)), **ANNOTATIONS}
    whole = frame.reindex(columns=list(kinds))
    write_table(pa.table({name: pa.array(whole[name].astype(object), kind, from_pandas=True) for name, kind in kinds.items()}), path)


class S3Proxy(ThreadingHTTPServer):
    """A proxy before the S3 server. A test's own says of each request what becomes of it, and hears of those that were forwarded."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Proxied)
        self.upstream = upstream
        self.closed = threading.Event()
        self.lock = threading.Lock()

    def fate(self, command: str, path: str) -> str | None:
        """Return 500, 503, silent (until who asks gives up), held (until the server is closed), cut (half of the content), or None: forwarded."""
        return None

    def forwarded(self, command: str, path: str, num_bytes: int) -> None:
        """Hear of a request that was answered."""

    @contextmanager
    def serving(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Let boto3 and DVC ask here."""
        threading.Thread(target=self.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{self.server_address[1]}")
        try:
            yield
        finally:
            self.closed.set()
            self.shutdown()
            self.server_close()


class _Proxied(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3Proxy

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _forward(self) -> None:
        path, body = self.path.partition("?")[0], self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fate = self.server.fate(self.command, path)
        if fate in ("500", "503"):
            code = {"500": "InternalError", "503": "SlowDown"}[fate]
            self._answer(int(fate), {"Content-Type": "application/xml"}, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())
        elif fate in ("silent", "held"):
            self.rfile.read(1) if fate == "silent" else self.server.closed.wait()
            self.close_connection = True
        else:
            status, headers, content = self._upstream(body)
            self.server.forwarded(self.command, path, len(body) or len(content))
            self._answer(status, headers, content, cut=fate == "cut")

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _forward  # noqa: N815

    def _upstream(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("content-length", "connection", "expect")}
        request = urllib.request.Request(self.server.upstream + self.path, body or None, method=self.command)
        for name, value in ({"Content-Type": "application/octet-stream"} | headers).items():
            request.add_unredirected_header(name, value)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def _answer(self, status: int, headers: dict[str, str], content: bytes, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content[: len(content) // 2] if cut else content)
        self.close_connection |= cut


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
