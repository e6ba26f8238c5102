import random
from pathlib import Path

import boto3
import pytest

from components.errors import ConfigError, InputError, TransientError
from components.storage import open_store, s3


def test_keys_lie_under_the_prefix_of_the_uri(s3_bucket: str) -> None:
    open_store(f"s3://{s3_bucket}/models/prod/").put("digits/champion.json", b"{}")
    listed = boto3.client("s3").list_objects_v2(Bucket=s3_bucket)["Contents"]
    assert [entry["Key"] for entry in listed] == ["models/prod/digits/champion.json"]


def test_more_keys_than_one_page_holds_are_listed(s3_bucket: str) -> None:
    store = open_store(f"s3://{s3_bucket}")
    for number in range(5):
        store.put(f"many/{number}", b"")
    store._client.meta.events.register("before-parameter-build.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=2))
    assert len(store.list("many/")) == 5


def test_an_upload_that_was_damaged_on_its_way_is_refused(s3_bucket: str) -> None:
    store = open_store(f"s3://{s3_bucket}")
    store._client.meta.events.register("before-send.s3.PutObject", lambda request, **_: setattr(request, "body", b"as it wss") or None)
    with pytest.raises(TransientError):
        store.put("part", b"as it was")


def test_a_large_file_goes_in_parts_and_is_the_same(s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", 5 * 2**20)
    monkeypatch.setattr(s3, "MULTIPART_ABOVE", 5 * 2**20)
    (tmp_path / "large").write_bytes(random.Random(0).randbytes(12 * 2**20 + 5))
    store = open_store(f"s3://{s3_bucket}")
    store.put("large", tmp_path / "large")
    assert next(store.entries("large")).etag.endswith("-3"), "three parts"
    assert store.get("large") == (tmp_path / "large").read_bytes()
    assert not store.put_if_absent("large", tmp_path / "large")


def test_a_part_that_was_damaged_on_its_way_is_refused_and_leaves_nothing(s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "MULTIPART_ABOVE", 10)
    (tmp_path / "large").write_bytes(bytes(100))
    store = open_store(f"s3://{s3_bucket}")
    store._client.meta.events.register("before-send.s3.UploadPart", lambda request, **_: setattr(request, "body", b"1" * 100) or None)
    with pytest.raises(TransientError):
        store.put("large", tmp_path / "large")
    assert "Uploads" not in boto3.client("s3").list_multipart_uploads(Bucket=s3_bucket)


def test_a_bucket_that_is_not_there_is_named(s3_bucket: str) -> None:
    with pytest.raises(InputError, match="NoSuchBucket"):
        open_store("s3://no-such-bucket").put("a", b"")
    with pytest.raises(ConfigError, match="s3://BUCKET"):
        open_store("s3://")


def test_a_server_that_is_away_is_transient_and_asked_as_often_as_is_said(s3_bucket: str, closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port}")
    store = open_store(f"s3://{s3_bucket}")
    asked: list[object] = []
    store._client.meta.events.register("before-send.s3.GetObject", lambda request, **_: asked.append(request))
    with pytest.raises(TransientError, match="does not answer"):
        store.get("a")
    assert len(asked) == 2
