"""Outputs that are complete or absent: written beside their place, renamed when done."""

from __future__ import annotations

import errno
import hashlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import InputError


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `out`; move it to `out` if the block succeeds, delete it otherwise.

    The sibling does not exist yet: the block makes a folder or a file of it. What `out` was before stays until
    the new one is complete. A .gitignore in the folder is DVC's and stays.

    Raises:
        InputError: The disk is full.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        with explaining_full_disk(out):
            yield temporary
            replaced = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.replaced"
            if out.is_dir() and not out.is_symlink():
                if temporary.is_dir() and (out / ".gitignore").is_file():
                    shutil.copy2(out / ".gitignore", temporary)
                out.rename(replaced)
            temporary.replace(out)
            shutil.rmtree(replaced, ignore_errors=True)
    finally:
        if temporary.is_dir() and not temporary.is_symlink():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


@contextmanager
def explaining_full_disk(out: Path) -> Iterator[None]:
    """Say that the disk is full, where the block fails because of it.

    Args:
        out: What the block writes; it leaves nothing changed when it fails.

    Raises:
        InputError: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"the disk is full: writing {out} stopped, nothing was changed. Free some space and run again") from error
        raise


def spreadsheet_safe(cell: str) -> str:
    """Return a text for a CSV that people open in a spreadsheet: one that would run as a formula begins with an apostrophe (OWASP, CSV injection)."""
    return f"'{cell}" if cell.lstrip()[:1] in ("=", "+", "-", "@") or cell[:1] in ("\t", "\r") else cell


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
