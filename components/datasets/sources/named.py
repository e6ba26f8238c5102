"""A source that is a name and no files: `sklearn:digits`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from components.errors import DataError


class NamedSource:
    """What a format knows by its name alone."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def files(self) -> Sequence[str]:
        """Return nothing."""
        return ()

    def read(self, name: str) -> bytes:
        """Refuse: there are no files."""
        raise DataError(f"{self.uri} has no file {name}")

    def read_many(self, names: Iterable[str]) -> Iterator[bytes | DataError]:
        """Yield an error for each name."""
        return (DataError(f"{self.uri} has no file {name}") for name in names)

    def release(self) -> None:
        """Do nothing: nothing is kept."""
