"""A digest of what a table says, whatever its chunks, padding or compression are."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def digest_of(table: pa.Table) -> str:
    """Return the SHA-256, as 64 hexadecimal digits, over all columns in their order: lengths, validity and values.

    Text, booleans, numbers and (nested) lists of them; a null differs from an empty text or list.
    """
    digest = hashlib.sha256()
    for name in table.column_names:
        digest.update(name.encode() + b"\0")
        _add(table.column(name).combine_chunks(), digest)
    return digest.hexdigest()


def _add(values: pa.Array, digest: Any) -> None:
    digest.update(np.int64(len(values)).tobytes())
    if pa.types.is_null(values.type) or values.null_count == len(values):
        digest.update(b"null")
    elif pa.types.is_string(values.type):
        _add_numbers(pc.fill_null(pc.binary_length(values), -1), digest)
        _, offsets, content = values.drop_null().buffers()
        present = values.drop_null()
        ends = np.frombuffer(offsets, dtype=np.int32)[present.offset : present.offset + len(present) + 1]
        digest.update(memoryview(content)[ends[0] : ends[-1]] if content else b"")
    elif pa.types.is_list(values.type):
        _add_numbers(pc.fill_null(pc.list_value_length(values), -1), digest)
        _add(pc.list_flatten(values), digest)
    elif pa.types.is_fixed_size_list(values.type):
        _add(pc.list_flatten(values), digest)
    elif pa.types.is_boolean(values.type):
        _add_numbers(pc.fill_null(pc.cast(values, pa.int8()), -1), digest)
    else:
        digest.update(np.packbits(values.is_valid().to_numpy(zero_copy_only=False)).tobytes())
        _add_numbers(pc.fill_null(values, 0), digest)


def _add_numbers(values: pa.Array, digest: Any) -> None:
    digest.update(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).tobytes())
