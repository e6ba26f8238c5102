from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest

from components import datasets
from components.datasets.versions.commit import commit
from components.datasets.versions.get import get, pull
from components.datasets.versions.tags import versions
from components.errors import TransientError
from components.storage import s3 as store
from tests.components.datasets.versions.conftest import labelled, make_project, picture, run, write

SECRET = "wJalrXUtnFEMI-not-for-logs"


class Flaky(ThreadingHTTPServer):
    """A proxy before the S3 server: an object's first `failures` requests fail by 500, 503 or silence; `sent` has the rest.

    Of all objects that are put `most` arrive; who puts more waits until the server is closed.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.ways, self.failures = ("silence", *("500", "503") * 20), 0  # silence takes as long as it takes to give up
        self.numbers: dict[str, int] = {}
        self.asked: dict[tuple[str, str], int] = {}
        self.sent: list[tuple[str, str, int]] = []
        self.num_put, self.most = 0, 10**6
        self.closed = threading.Event()
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Flaky

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _forward(self) -> None:
        server, path = self.server, self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "/files/md5/" in path:
            with server.lock:
                count = server.asked[self.command, path] = server.asked.get((self.command, path), -1) + 1
                number = server.numbers.setdefault(path, len(server.numbers))
            way = server.ways[number % len(server.ways)] if count < server.failures else None
            if way == "silence":
                self.rfile.read(1)  # until whoever asks has given up
                self.close_connection = True
                return
            if way:
                self._answer(int(way), {}, b"<Error><Code>SlowDown</Code><Message>no</Message></Error>")
                return
            if self.command == "PUT":
                with server.lock:
                    server.num_put += 1
                    too_many = server.num_put > server.most
                if too_many:
                    server.closed.wait()
                    self.close_connection = True
                    return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("content-length", "connection", "expect")}
        request = urllib.request.Request(server.upstream + self.path, body or None, method=self.command)
        for name, value in ({"Content-Type": "application/octet-stream"} | headers).items():
            request.add_unredirected_header(name, value)
        try:
            with urllib.request.urlopen(request) as answer:
                status, answered, content = answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            status, answered, content = error.code, dict(error.headers), error.read()
        with server.lock:
            server.sent.append((self.command, path, len(body) or len(content)))
        self._answer(status, answered, content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _forward  # noqa: N815

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        length = headers.get("Content-Length", str(len(content))) if self.command == "HEAD" else str(len(content))
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@pytest.fixture
def proxy(s3_bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flaky]:
    server = Flaky(s3_server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    yield server
    server.closed.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def pets(proxy: Flaky, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_project(tmp_path / "project", f"s3://{s3_bucket}/data")
    monkeypatch.chdir(folder)
    write(folder, [labelled(f"{number:03d}.png", "cat") for number in range(40)])
    return folder


def objects(bucket: str) -> dict[str, int]:
    found = boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return {entry["Key"]: entry["Size"] for entry in found}


def test_a_second_version_moves_only_what_is_new(pets: Path, s3_bucket: str) -> None:
    commit(pets, "pets", "first")
    first = objects(s3_bucket)
    write(pets, [labelled("new.png", "dog")], "append")
    commit(pets, "pets", "second")
    new = {key: size for key, size in objects(s3_bucket).items() if key not in first}
    assert len(new) == 4  # the new shard, the manifest, dataset.yaml, their list
    assert sum(new.values()) < 0.3 * sum(first.values())
    assert run(sys.executable, "-m", "dvc", "status", "--cloud", cwd=pets).strip().startswith("Cache and remote")  # DVC agrees


def test_a_version_is_read_by_byte_ranges_without_a_download(pets: Path, proxy: Flaky) -> None:
    commit(pets, "pets", "first")
    shutil.rmtree(pets / ".dvc" / "cache")
    shutil.rmtree(pets / "data" / "pets")
    proxy.sent.clear()
    with datasets.open("pets@v1.0.0") as opened:
        assert len(opened.manifest) == 40
        assert [opened.image(index) for index in (39, 0)] == [picture("039.png"), picture("000.png")]
        assert opened.torch(size=4)[30][1] == 0
    moved = sum(size for command, _, size in proxy.sent if command == "GET")
    assert moved < 20_000  # manifest, dataset.yaml, list and three images of a few hundred bytes; the shards are 60 kB


def test_requests_that_fail_are_tried_again(
    pets: Path, proxy: Flaky, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "READ_TIMEOUT_S", 2.0)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "10")  # on a busy machine an honest answer may come too late, too
    caplog.set_level(logging.DEBUG)
    proxy.failures = 1
    commit(pets, "pets", "first")
    proxy.asked.clear()
    shutil.rmtree(pets / ".dvc" / "cache")
    assert get(pets, "pets@v1.0.0", tmp_path / "out").num_images == 40
    assert SECRET not in caplog.text


def test_a_remote_that_stays_away_leaves_no_version_and_the_next_try_goes_on(pets: Path, proxy: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    proxy.ways, proxy.failures = ("503",), 1000
    with pytest.raises(TransientError) as failed:
        commit(pets, "pets", "first")
    assert SECRET not in str(failed.value)
    assert versions(pets, "pets") == []
    assert run("git", "log", "--oneline", cwd=pets).count("\n") == 1
    proxy.failures = 0
    commit(pets, "pets", "first")
    assert versions(pets, "pets")[0].version == "1.0.0"


def test_a_push_that_was_killed_goes_on_where_it_was(pets: Path, proxy: Flaky, s3_bucket: str) -> None:
    write(pets, [labelled(f"more{number:03d}.png", "dog") for number in range(40)], "append")
    proxy.most = 3
    code = "from pathlib import Path; from components.datasets.versions.commit import commit; commit(Path('.'), 'pets', 'first')"
    root = Path(__file__).parents[4]
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(objects(s3_bucket)) < proxy.most and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = objects(s3_bucket)
    assert len(before) == proxy.most
    assert not any(key.endswith(".dir") for key in before), "what lists the others comes last"
    assert versions(pets, "pets") == []
    proxy.most = 10**6
    proxy.sent.clear()
    commit(pets, "pets", "first")
    sent_again = {path.split("/", 2)[2] for command, path, _ in proxy.sent if command == "PUT"} & set(before)
    assert not sent_again
    shutil.rmtree(pets / ".dvc" / "cache")
    shutil.rmtree(pets / "data" / "pets")
    pull(pets, "pets")
    with datasets.open("pets") as opened:
        assert opened.image(79) == picture("more039.png")
