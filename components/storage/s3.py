"""S3 and what speaks its protocol: `s3://BUCKET/PREFIX`.

Credentials, region and endpoint (AWS_ENDPOINT_URL) come from the environment.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.errors import ConfigError, InputError, TransientError
from components.protocols import ObjectInfo

log = logging.getLogger(__name__)

#: Files above it are sent in parts, as S3 wants it of objects above 5 GB; memory holds `_NUM_SENDERS` parts.
MULTIPART_ABOVE = 64 * 2**20
PART_BYTES = 16 * 2**20
_MAX_PARTS = 10_000
_NUM_SENDERS = 4
#: As many requests at once as a caller's threads may make without waiting for a connection.
MAX_CONNECTIONS = 32
#: Seconds without a byte after which a request counts as failed.
READ_TIMEOUT_S = 60.0
_LONGEST_PAUSE_S = 20.0
#: In an endpoint's address.
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_MISSING = {"NoSuchKey", "404", "NotFound"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_DENIED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "InvalidBucketName"}


class S3Store:
    """Objects in a bucket. Requests are retried with growing pauses; each upload carries its SHA-256.

    Args:
        uri: `s3://BUCKET` or `s3://BUCKET/PREFIX`.

    Raises:
        ConfigError: The URI names no bucket.
    """

    def __init__(self, uri: str) -> None:
        import boto3
        from botocore.config import Config

        self.uri = uri
        self._bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if "@" in self._bucket or ":" in self._bucket:
            raise ConfigError("s3://…: the bucket's name holds '@' or ':'; credentials come from the environment, never from the URI")
        if not self._bucket:
            raise ConfigError(f"found {uri}; expected s3://BUCKET or s3://BUCKET/PREFIX")
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        for name in ("boto3", "botocore", "urllib3"):  # at DEBUG they write down signed headers and session tokens
            logging.getLogger(name).setLevel(logging.INFO)
        self._attempts = int(os.environ.get("AWS_MAX_ATTEMPTS", "5"))
        # Stores other than AWS can refuse the checksums that botocore adds by itself; `put` sends its own.
        settings = Config(
            retries={"mode": os.environ.get("AWS_RETRY_MODE", "standard"), "total_max_attempts": self._attempts},
            connect_timeout=10,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=MAX_CONNECTIONS,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self._client: Any = boto3.client("s3", config=settings)

    def put(self, key: str, content: bytes | Path) -> None:
        """Store under `key`, whole or not at all, verified by checksum; replaces what was there."""
        self._put(key, content)

    def put_if_absent(self, key: str, content: bytes | Path) -> bool:
        """Store under `key` unless it exists; False if it does."""
        if self._exists(key):
            return False
        return self._put(key, content, IfNoneMatch="*")

    def get(self, key: str) -> bytes:
        """Return the content.

        Raises:
            InputError: There is no such key.
        """
        return self._read(key)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, without the rest.

        Raises:
            InputError: There is no such key, or it ends before these bytes do.
        """
        if not length:
            return b""
        content = self._read(key, Range=f"bytes={offset}-{offset + length - 1}")
        if len(content) != length:
            raise InputError(f"{self.uri}: {key} ends before byte {offset + length}; {length} bytes expected at {offset}, found {len(content)}")
        return content

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted."""
        return sorted(entry.key for entry in self.entries(prefix))

    def entries(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what lies under the keys that begin with `prefix`, sorted by key as S3 lists them, as far as it is asked for."""
        with self._errors(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for entry in page.get("Contents", []):
                    yield ObjectInfo(entry["Key"].removeprefix(self._prefix), int(entry["Size"]), entry["ETag"].strip('"'))

    def _read(self, key: str, **options: str) -> bytes:
        """Return an object's bytes. botocore retries the request, not the body that follows it: that is done here."""
        from botocore.exceptions import ConnectionError as Disconnected
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        with self._errors(key):
            for attempt in range(1, self._attempts + 1):
                body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, **options)["Body"]
                try:
                    return bytes(body.read())
                except (HTTPClientError, Disconnected, IncompleteReadError) as error:
                    body.close()
                    if attempt == self._attempts:
                        raise
                    log.debug("%s: reading %s failed (%s), attempt %d of %d", self.uri, key, type(error).__name__, attempt, self._attempts)
                    time.sleep(min(_LONGEST_PAUSE_S, random.uniform(0.5, 1.0) * 2 ** (attempt - 1)))  # noqa: S311 - to spread retries
        raise AssertionError  # the last attempt returned or raised

    def _exists(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        with self._errors(key):
            try:
                self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return False
                raise
            return True

    def _put(self, key: str, content: bytes | Path, **conditions: str) -> bool:
        from botocore.exceptions import ClientError

        with self._errors(key):
            try:
                if isinstance(content, Path) and content.stat().st_size > MULTIPART_ABOVE:
                    kept = self._send_in_parts(key, content, conditions)
                else:
                    body = content.read_bytes() if isinstance(content, Path) else content
                    _, kept = self._send(self._client.put_object, body, Key=key, **conditions)
            except ClientError as error:
                if conditions and error.response["Error"]["Code"] in _TAKEN:
                    return False
                raise
        if not kept and not self._holds(key, content):  # a store that says nothing of the checksum is read back
            raise TransientError(f"{self.uri} did not keep {key} as it was sent. Try again")
        return True

    def _send(self, request: Callable[..., Any], body: bytes, **options: Any) -> tuple[dict[str, Any], bool]:
        """Send bytes with their checksum; return the answer, and whether it names the same checksum."""
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        options["Key"] = self._prefix + options["Key"]
        answer = request(Bucket=self._bucket, Body=body, ChecksumSHA256=checksum, **options)
        return answer, answer.get("ChecksumSHA256") == checksum

    def _send_in_parts(self, key: str, path: Path, conditions: dict[str, str]) -> bool:
        """Send a file part by part, several at once; it becomes visible when all are there."""
        target = {"Bucket": self._bucket, "Key": self._prefix + key}
        size = path.stat().st_size
        part_bytes = max(PART_BYTES, -(-size // _MAX_PARTS))
        upload = self._client.create_multipart_upload(**target, ChecksumAlgorithm="SHA256")["UploadId"]

        def send(number: int) -> tuple[dict[str, Any], bool]:
            with path.open("rb") as file:
                file.seek((number - 1) * part_bytes)
                body = file.read(part_bytes)
            answer, kept = self._send(self._client.upload_part, body, Key=key, UploadId=upload, PartNumber=number)
            names = ("ETag", "ChecksumSHA256") if kept else ("ETag",)
            return {"PartNumber": number} | {name: answer[name] for name in names}, kept

        try:
            with ThreadPoolExecutor(_NUM_SENDERS) as pool:
                sent = list(pool.map(send, range(1, -(-size // part_bytes) + 1)))
            parts = {"Parts": [part for part, _ in sent]}
            self._client.complete_multipart_upload(**target, UploadId=upload, MultipartUpload=parts, **conditions)
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                self._client.abort_multipart_upload(**target, UploadId=upload)
            raise
        return all(kept for _, kept in sent)

    def _holds(self, key: str, content: bytes | Path) -> bool:
        if isinstance(content, bytes):
            return self.get(key) == content
        size = content.stat().st_size
        with content.open("rb") as file:
            return all(self.get_range(key, start, len(part)) == part for start in range(0, size, PART_BYTES) if (part := file.read(PART_BYTES)))

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _MISSING:
                raise InputError(f"{self.uri} has nothing under {key}") from None
            if code == "InvalidRange":
                raise InputError(f"{self.uri}: {key} ends before the bytes that are asked for") from None
            if code in _DENIED:
                raise InputError(f"{self.uri} refuses {key}: {code}. Check the bucket's name, AWS_ENDPOINT_URL and the credentials") from None
            raise TransientError(f"{self.uri} failed on {key}: {error}") from error
        except NoCredentialsError:
            raise InputError(f"{self.uri}: no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE") from None
        except BotoCoreError as error:
            raise TransientError(f"{self.uri} does not answer: {_CREDENTIALS.sub('//', str(error))}. Check AWS_ENDPOINT_URL, or try again") from error


plugin = S3Store
