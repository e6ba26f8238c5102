from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from PIL import Image

from components.datasets.importing import import_dataset
from components.datasets.manifest import read_manifest
from components.datasets.shards import ShardReader
from components.datasets.sources import names, open_source, s3
from components.errors import DataError, InputError, TransientError
from components.storage import s3 as storage_s3
from tests.components.datasets.conftest import S3Proxy

NUM_IMAGES = 60


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def photos(s3_bucket: str) -> str:
    """A bucket with images of two classes, a hidden object and a folder marker under a prefix."""
    client = boto3.client("s3")
    for index in range(NUM_IMAGES):
        client.put_object(Bucket=s3_bucket, Key=f"pets/{'cat' if index % 2 else 'dog'}/{index:02d}.png", Body=_png(index))
    for key in ("pets/.hidden/a.png", "pets/cat/", "elsewhere/a.png"):
        client.put_object(Bucket=s3_bucket, Key=key, Body=b"")
    return f"s3://{s3_bucket}/pets"


class Flaky(S3Proxy):
    """Each GET of an object fails `failures` times, each time in another way; `failed` tells how. Of all objects `most` are answered."""

    def __init__(self, upstream: str, failures: int) -> None:
        super().__init__(upstream)
        self.ways = (*("500", "503", "cut") * 5, "silent")  # silence takes as long as it takes to give up
        self.failures = failures
        self.asked: dict[str, int] = {}
        self.failed: dict[str, list[str]] = {}
        self.answered, self.most = 0, 10**6

    def fate(self, command: str, path: str) -> str | None:
        if command != "GET" or not path.endswith(".png"):
            return None
        way = None
        with self.lock:
            count = self.asked[path] = self.asked.get(path, 0) + 1
            if count <= self.failures:
                way = self.ways[(int(path[-6:-4]) + count) % len(self.ways)]
                self.failed.setdefault(path, []).append(way)
            self.answered += way in (None, "cut")
            return way if self.answered <= self.most else "held"


@pytest.fixture
def flaky(photos: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flaky]:
    server = Flaky(s3_server, failures=2)
    with server.serving(monkeypatch):
        yield server


def test_a_bucket_is_imported_byte_for_byte_in_order(photos: str, tmp_path: Path) -> None:
    import_dataset(photos, "pets", tmp_path / "data")
    frame = read_manifest(tmp_path / "data/pets")
    expected = sorted(f"{'cat' if index % 2 else 'dog'}/{index:02d}.png" for index in range(NUM_IMAGES))
    assert frame["image_id"].tolist() == expected
    with ShardReader(tmp_path / "data/pets") as shards:
        for row in frame.itertuples():
            assert shards.read(row.shard, row.offset, row.length) == _png(int(row.image_id[4:6]))
    assert not list(s3.SCRATCH.iterdir()), "what was kept to go on with is gone"


def test_requests_that_fail_with_500_503_a_cut_body_or_a_time_out_are_tried_again(
    photos: str, flaky: Flaky, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_s3, "READ_TIMEOUT_S", 3.0)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "10")  # on a busy machine an honest answer may come too late, too
    summary = import_dataset(photos, "pets", tmp_path / "data")
    assert (summary.num_images, summary.quarantined) == (NUM_IMAGES, [])
    assert len(flaky.failed) == NUM_IMAGES
    assert all(len(set(ways)) == 2 for ways in flaky.failed.values()), "each object failed twice, each time in another way"
    assert {way for ways in flaky.failed.values() for way in ways} == set(flaky.ways)


def test_a_server_that_keeps_failing_is_transient_and_leaves_the_version_before(
    photos: str, flaky: Flaky, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    flaky.failures = 10**6
    flaky.ways = ("500", "503")
    with pytest.raises(TransientError, match="failed on"):
        import_dataset(photos, "pets", tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_a_killed_import_goes_on_where_it_was(photos: str, flaky: Flaky, s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flaky.failures, flaky.most = 0, 20
    code = f"from components.datasets.importing import import_dataset; from pathlib import Path; import_dataset({photos!r}, 'pets', Path('data'))"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])})
    deadline = time.monotonic() + 120
    while len(kept := _kept()) < flaky.most and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(kept) == flaky.most
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    changed = boto3.client("s3")
    bucket, _, prefix = photos.removeprefix("s3://").partition("/")
    changed.put_object(Bucket=bucket, Key=f"{prefix}/cat/01.png", Body=_png(99))
    read: list[str] = []
    get = storage_s3.S3Store.get
    monkeypatch.setattr(storage_s3.S3Store, "get", lambda store, key: (read.append(key), get(store, key))[1])
    summary = import_dataset(photos, "pets", tmp_path / "data")
    assert summary.num_images == NUM_IMAGES
    assert len(read) == len(set(read)) <= NUM_IMAGES - len(kept) + 1, "only what was missing, and what has changed, was read"
    assert "cat/01.png" in read
    first = read_manifest(tmp_path / "data/pets").iloc[0]
    with ShardReader(tmp_path / "data/pets") as shards:
        assert (first["image_id"], shards.read(first["shard"], first["offset"], first["length"])) == ("cat/01.png", _png(99))
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["pets"], "what the killed import left is gone"
    assert not list(s3.SCRATCH.iterdir())


def _kept() -> list[Path]:
    return [path for path in s3.SCRATCH.rglob("*") if path.is_file() and path.suffix != ".partial"]


def test_credentials_are_in_no_log_and_no_error(
    photos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secrets = ["wJalrXUtnFEMIsecret", "AQoDYXdzEJrtoken", "hunter2"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secrets[0])
    monkeypatch.setenv("AWS_SESSION_TOKEN", secrets[1])
    caplog.set_level(logging.DEBUG)
    import_dataset(photos, "pets", tmp_path / "data")
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:{secrets[2]}@127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    told = []
    for uri in (photos, f"s3://AKIA:{secrets[2]}@bucket/prefix"):
        with pytest.raises((TransientError, InputError)) as error:
            open_source(uri).files()
        told.append(str(error.value))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    everything = "\n".join([caplog.text, *told, *capfd.readouterr()])
    assert not [secret for secret in secrets if secret in everything]


def test_what_is_not_there_or_is_too_much_is_said(photos: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="holds no objects"):
        open_source(f"s3://{s3_bucket}/nowhere").files()
    with pytest.raises(InputError, match="NoSuchBucket"):
        open_source("s3://no-such-bucket/pets").files()
    source = open_source(photos)
    with pytest.raises(DataError, match="leads outside"):
        source.read("../elsewhere/a.png")
    with pytest.raises(DataError, match="is not in"):
        source.read("cat/99.png")
    monkeypatch.setattr(s3, "MAX_FILES", 3)
    with pytest.raises(DataError, match=f"lists more than {names.MAX_FILES:,}"):
        open_source(photos).files()


def test_a_key_that_leads_outside_refuses_the_source(photos: str, s3_bucket: str) -> None:
    boto3.client("s3").put_object(Bucket=s3_bucket, Key="pets//etc/passwd", Body=b"")
    with pytest.raises(DataError, match="leads outside of it; rename the object"):
        open_source(photos).files()


def test_an_object_that_is_gone_after_the_listing_is_told_in_its_place(photos: str, s3_bucket: str) -> None:
    source = open_source(photos)
    boto3.client("s3").delete_object(Bucket=s3_bucket, Key=f"pets/{source.files()[1]}")
    answers = list(source.read_many(source.files()[:3]))
    assert [type(answer) for answer in answers] == [bytes, DataError, bytes]
