"""S3 and what speaks its protocol: `s3://BUCKET/PREFIX`.

Credentials, region and endpoint (AWS_ENDPOINT_URL) come from the environment.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import ConfigError, InputError, TransientError

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
        if not self._bucket:
            raise ConfigError(f"publish.uri: found {uri}; expected s3://BUCKET or s3://BUCKET/PREFIX")
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        # Stores other than AWS can refuse the checksums that botocore adds by itself; `put` sends its own.
        settings = Config(
            retries={"mode": os.environ.get("AWS_RETRY_MODE", "standard"), "max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS", "5"))},
            connect_timeout=10,
            read_timeout=60,
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
        with self._errors(key):
            return bytes(self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read())

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted."""
        with self._errors(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix + prefix)
            return sorted(entry["Key"].removeprefix(self._prefix) for page in pages for entry in page.get("Contents", []))

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

        body = content.read_bytes() if isinstance(content, Path) else content
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        with self._errors(key):
            try:
                answer = self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=body, ChecksumSHA256=checksum, **conditions)
            except ClientError as error:
                if conditions and error.response["Error"]["Code"] in _TAKEN:
                    return False
                raise
        if answer.get("ChecksumSHA256") != checksum and self.get(key) != body:  # a store that says nothing of the checksum is read back
            raise TransientError(f"{self.uri} did not keep {key} as it was sent. Try again")
        return True

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _MISSING:
                raise InputError(f"{self.uri} has nothing under {key}") from None
            if code in _DENIED:
                raise InputError(f"{self.uri} refuses {key}: {code}. Check the bucket's name, AWS_ENDPOINT_URL and the credentials") from None
            raise TransientError(f"{self.uri} failed on {key}: {error}") from error
        except NoCredentialsError:
            raise InputError(f"{self.uri}: no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE") from None
        except BotoCoreError as error:
            raise TransientError(f"{self.uri} does not answer: {error}. Check AWS_ENDPOINT_URL, or try again") from error


plugin = S3Store
