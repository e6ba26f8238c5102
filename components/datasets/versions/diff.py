"""What differs between two versions, by their manifests alone: a million rows are compared column by column, never row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.datasets.versions.counts import annotation_counts, in_order

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: What a change of an image that both versions have is called, and the columns that tell it.
CHANGES = {
    "bytes changed": ("sha256",),
    "relabelled": ("label",),
    "boxes changed": ("boxes_xyxy", "box_labels", "box_ignore", "polygons"),
    "mask changed": ("mask_sha256",),
}
KINDS = ("added", "removed", *CHANGES)


@dataclass(frozen=True)
class Diff:
    """What differs between A and B.

    Attributes:
        a: The manifest of A: image_id, the columns of `CHANGES`, and those that say where bytes are.
        b: That of B.
        rows: For each of `KINDS` the rows of A and of B, -1 where it has none.
        classes: Class names, those of A first.
    """

    a: pa.Table
    b: pa.Table
    rows: dict[str, tuple[Rows, Rows]]
    classes: list[str]

    @property
    def num(self) -> dict[str, int]:
        """How many images changed in which way; one image may have changed in several."""
        return {kind: len(rows[0]) for kind, rows in self.rows.items()}

    def counts(self) -> pa.Table:
        """Return one row a class: class, in A, in B, and of the images of each kind how often it is annotated (in B; of removed ones in A).

        Relabelled images are counted twice: under the class they had (`relabelled from`) and the one they have (`relabelled to`).
        """
        columns = {"A": annotation_counts(self.a), "B": annotation_counts(self.b)}
        for kind, (of_a, of_b) in self.rows.items():
            if kind == "relabelled":
                columns["relabelled from"] = annotation_counts(self.a.take(of_a))
                columns["relabelled to"] = annotation_counts(self.b.take(of_b))
            elif len(of_a):
                columns[kind] = annotation_counts(self.a.take(of_a) if kind == "removed" else self.b.take(of_b))
        names = list(in_order({name: 0 for counts in columns.values() for name in counts}, self.classes))
        found = {column: [counts.get(name, 0) for name in names] for column, counts in columns.items()}
        kept = {column: values for column, values in found.items() if column in ("A", "B") or any(values)}
        return pa.table({"class": names, **kept})

    def confusions(self) -> pa.Table:
        """Return from, to, images of the relabelled, the most frequent first."""
        of_a, of_b = self.rows["relabelled"]
        pairs = pa.table({"from": self.a.column("label").take(of_a), "to": self.b.column("label").take(of_b)})
        counted = pairs.group_by(["from", "to"]).aggregate([([], "count_all")]).rename_columns(["from", "to", "images"])
        return counted.sort_by([("images", "descending"), ("from", "ascending"), ("to", "ascending")])

    def listing(self) -> pa.Table:
        """Return one row a change: change, image_id, from, to; `from` and `to` are labels, or how many boxes."""
        parts = []
        for kind, (of_a, of_b) in self.rows.items():
            ids = self.a.column("image_id").take(of_a) if kind == "removed" else self.b.column("image_id").take(of_b)
            before, after = _said(self.a, of_a, kind), _said(self.b, of_b, kind)
            parts.append(pa.table({"change": pa.repeat(kind, len(ids)), "image_id": ids, "from": before, "to": after}))
        return pa.concat_tables(parts)


def diff(a: pa.Table, b: pa.Table, classes: Sequence[str] = ()) -> Diff:
    """Compare two manifests by image_id.

    Args:
        a: A manifest with image_id and the columns of `CHANGES`.
        b: Another.
        classes: Names in the order in which they are to be shown.
    """
    in_b = pc.fill_null(pc.index_in(_plain(a, "image_id"), value_set=_plain(b, "image_id")), -1).to_numpy(zero_copy_only=False).astype(np.int64)
    of_a = np.flatnonzero(in_b >= 0)
    of_b = in_b[of_a]
    gone = np.flatnonzero(in_b < 0)
    kept = np.zeros(b.num_rows, dtype=np.bool_)
    kept[of_b] = True
    new = np.flatnonzero(~kept)
    rows = {"added": (np.full(len(new), -1, dtype=np.int64), new), "removed": (gone, np.full(len(gone), -1, dtype=np.int64))}
    for kind, columns in CHANGES.items():
        same = np.ones(len(of_a), dtype=np.bool_)
        for column in columns:
            one, other = _plain(a, column), _plain(b, column)
            if len(one) == one.null_count and len(other) == other.null_count:
                continue
            same &= rows_equal(one.take(pa.array(of_a)), other.take(pa.array(of_b)))
        rows[kind] = (of_a[~same], of_b[~same])
    return Diff(a, b, rows, list(classes))


def rows_equal(one: pa.Array, other: pa.Array) -> Flags:
    """Tell row by row whether two arrays of one type and length hold the same; nulls equal nulls, lists are compared whole."""
    if not (pa.types.is_list(one.type) or pa.types.is_fixed_size_list(one.type)):
        both = pc.and_(one.is_null(), other.is_null())
        return _flags(pc.or_(both, pc.fill_null(pc.equal(one, other), False)))
    lengths = [pc.fill_null(pc.list_value_length(array), -1) for array in (one, other)]
    same = _flags(pc.equal(*lengths))
    longs = np.flatnonzero(same & (lengths[0].to_numpy(zero_copy_only=False) > 0))
    if len(longs):
        inner = rows_equal(*(pc.list_flatten(array.take(pa.array(longs))) for array in (one, other)))
        ends = np.cumsum(lengths[0].to_numpy(zero_copy_only=False)[longs])
        wrong = np.concatenate([[0], np.cumsum(~inner)])
        same[longs] = wrong[ends] == wrong[np.concatenate([[0], ends[:-1]])]
    return same


def _said(table: pa.Table, rows: Rows, kind: str) -> pa.Array:
    """Return what a version says of some images, as text; null where it has none of them."""
    known = pa.array(rows, mask=rows < 0)
    if kind in ("bytes changed", "mask changed"):
        column = table.column(CHANGES[kind][0]).take(known)
        return pc.utf8_slice_codeunits(column, 0, 12)
    labels = table.column("label").take(known)
    boxes = pc.list_value_length(table.column("boxes_xyxy").take(known))
    counted = pc.binary_join_element_wise(pc.cast(boxes, pa.string()), pa.scalar(" boxes"), "")
    return pc.coalesce(labels, counted) if kind != "boxes changed" else counted


def _plain(table: pa.Table, column: str) -> Any:
    return table.column(column).combine_chunks()


def _flags(values: Any) -> Flags:
    flags: Flags = values.to_numpy(zero_copy_only=False)
    return flags.astype(np.bool_)
