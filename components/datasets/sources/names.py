"""Names of files at a source: what may be one, and which are left out."""

from __future__ import annotations

from components.errors import DataError

#: A source that lists more files is refused while it is listed: memory stays bounded whatever it holds.
MAX_FILES = 5_000_000


def leads_outside(name: str) -> bool:
    """Tell whether a name is absolute, climbs with `..`, or has a NUL in it: it could name what is no part of the source."""
    return name.startswith("/") or "\0" in name or ".." in name.split("/") or (name[1:2] == ":" and name[:1].isalpha())


def is_hidden(name: str) -> bool:
    """Tell whether a file or a folder above it begins with a dot."""
    return name.startswith(".") or "/." in name


def too_many_files(uri: str) -> DataError:
    """Return the error for a source that lists more than `MAX_FILES`."""
    return DataError(f"{uri} lists more than {MAX_FILES:,} files; import it in parts")
