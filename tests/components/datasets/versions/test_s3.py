from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from components import datasets
from components.datasets.versions.commit import commit
from components.datasets.versions.get import get, pull
from components.datasets.versions.tags import versions
from components.errors import TransientError
from components.storage import s3 as store
from tests.components.datasets.conftest import S3Proxy
from tests.components.datasets.versions.conftest import labelled, make_project, picture, run, write

SECRET = "wJalrXUtnFEMI-not-for-logs"


class Flaky(S3Proxy):
    """An object's first `failures` requests fail by 500, 503 or silence; `sent` has the rest. Of all objects that are put `most` arrive."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.ways, self.failures = ("silent", *("500", "503") * 20), 0  # silence takes as long as it takes to give up
        self.numbers: dict[str, int] = {}
        self.asked: dict[tuple[str, str], int] = {}
        self.sent: list[tuple[str, str, int]] = []
        self.num_put, self.most = 0, 10**6

    def fate(self, command: str, path: str) -> str | None:
        if "/files/md5/" not in path:
            return None
        with self.lock:
            count = self.asked[command, path] = self.asked.get((command, path), -1) + 1
            number = self.numbers.setdefault(path, len(self.numbers))
            if count < self.failures:
                return self.ways[number % len(self.ways)]
            self.num_put += command == "PUT"
            return "held" if command == "PUT" and self.num_put > self.most else None

    def forwarded(self, command: str, path: str, num_bytes: int) -> None:
        with self.lock:
            self.sent.append((command, path, num_bytes))


@pytest.fixture
def proxy(s3_bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flaky]:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    server = Flaky(s3_server)
    with server.serving(monkeypatch):
        yield server


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
