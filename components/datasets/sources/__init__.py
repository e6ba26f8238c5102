"""Where foreign layouts lie: a folder, an archive, a bucket. One file a kind."""

from __future__ import annotations

from pathlib import Path

from components.datasets.sources.folder import FolderSource
from components.datasets.sources.named import NamedSource
from components.errors import DataError
from components.protocols import Source


def open_source(uri: str) -> Source:
    """Return the source behind what the user typed.

    Raises:
        DataError: There is nothing of that name.
    """
    path = Path(uri)
    if path.is_dir():
        return FolderSource(uri)
    if ":" in uri and not path.exists():
        return NamedSource(uri)
    raise DataError(f"{uri} not found; expected a folder of images, or sklearn:digits")
