"""Where foreign layouts lie: a folder, an archive, a bucket. One file a kind."""

from __future__ import annotations

from pathlib import Path

from components.datasets.sources.archive import ArchiveSource
from components.datasets.sources.folder import FolderSource
from components.datasets.sources.named import NamedSource
from components.datasets.sources.s3 import S3Source
from components.errors import DataError
from components.protocols import Source


def open_source(uri: str) -> Source:
    """Return the source behind what the user typed.

    Raises:
        DataError: There is nothing of that name, or it is an archive that is refused.
        ConfigError: The URI is of no kind that is known.
    """
    path = Path(uri)
    if path.is_dir():
        return FolderSource(uri)
    if path.is_file():
        return ArchiveSource(uri)
    if uri.startswith("s3://"):
        return S3Source(uri)
    if ":" in uri and "://" not in uri:
        return NamedSource(uri)
    raise DataError(f"{uri} not found; expected a folder, an archive, s3://BUCKET/PREFIX, sklearn:digits, composed:detection or torchvision:NAME")
