"""Check of the image files: what each holds, whether it decodes, what is measured of its pixels and of its mask.

What is not as plain as an 8-bit RGB file is used all the same, as `datasets.headers` says; the rules only tell of it, unless
params.yaml says that it is to be refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.datasets.annotations import IGNORE, read_mask
from components.datasets.checks.duplicates import fingerprint
from components.datasets.checks.embedding import DIMENSIONS, embed
from components.datasets.checks.label_errors import thumbnail
from components.datasets.checks.masks import measure_mask
from components.datasets.checks.suite import Part, Subject, between
from components.datasets.dataset import Shards
from components.datasets.decoding import upright_rgb
from components.datasets.headers import kind_of, open_image, suffix_fits
from components.datasets.manifest import DatasetInfo
from components.datasets.parallel import map_batches, num_threads_for
from components.datasets.probes import measure
from components.datasets.shards import ShardReader
from components.errors import DataError
from components.progress import bar

#: What is measured of every image, in the order of measurements.parquet; null where it is damaged.
COLUMNS: dict[str, pa.DataType] = {
    "image_id": pa.string(),
    "sha256": pa.string(),
    "decodes": pa.bool_(),
    "damage": pa.string(),
    "height": pa.int32(),
    "width": pa.int32(),
    "channels": pa.int8(),
    "brightness": pa.float64(),
    "contrast": pa.float64(),
    "sharpness": pa.float64(),
    "format": pa.string(),
    "mode": pa.string(),
    "frames": pa.int32(),
    "bits": pa.int16(),
    "alpha": pa.bool_(),
    "orientation": pa.int8(),
    "suffix_fits": pa.bool_(),
    "mask_damage": pa.string(),
    "mask_height": pa.int32(),
    "mask_width": pa.int32(),
    "mask_undeclared": pa.string(),
    "mask_classes": pa.list_(pa.int16()),
}
FINGERPRINT, EMBEDDING, THUMBNAIL = "fingerprint", "embedding", "thumbnail"
_EXTRA = {FINGERPRINT: pa.binary(), EMBEDDING: pa.list_(pa.float32(), DIMENSIONS), THUMBNAIL: pa.binary()}
_THUMBNAIL_SIDE = 32
_PLACE = ["image_id", "shard", "offset", "length", "mask_shard", "mask_offset", "mask_length"]
_BATCH = 64


def measure_images(source: Path | Shards, info: DatasetInfo, table: pa.Table, extra: Sequence[str] = (), ray_address: str | None = None) -> pa.Table:
    """Measure every image of a dataset, and its mask.

    Args:
        source: The dataset's folder, or its shards where they are not in a folder; with Ray a folder.
        info: Its classes.
        table: Its manifest, or some rows of it.
        extra: Further columns: `FINGERPRINT`, `EMBEDDING` (float32 (64,), NaN where damaged), `THUMBNAIL` (uint8 (32, 32, 3)).
        ray_address: A Ray cluster that does it, every node of which knows the folder; None: this machine.

    Returns:
        A row an image: `COLUMNS`, and those asked for.
    """
    places = list(zip(*(table.column(name).to_pylist() for name in _PLACE), strict=True))
    sizes = table.select(["height", "width"]).to_pandas()
    work = partial(_measure_batch, source.absolute() if isinstance(source, Path) else source, len(info.classes), tuple(extra))
    parts = []
    with bar("measure images", len(places)) as progress:
        for part in map_batches(work, places, _BATCH, num_threads_for(sizes), ray_address):
            parts.append(part)
            progress.update(part.num_rows)
    return pa.concat_tables(parts)


def _measure_batch(source: Path | Shards, num_classes: int, extra: tuple[str, ...], places: Sequence[tuple[Any, ...]]) -> pa.Table:
    schema = pa.schema([*COLUMNS.items(), *((name, _EXTRA[name]) for name in extra)])
    with ShardReader(source) if isinstance(source, Path) else nullcontext(source) as shards:
        rows = []
        for image_id, shard, offset, length, *mask in places:
            row = {"image_id": image_id, **_probe(shards.read(shard, offset, length), image_id, extra)}
            if mask[0] is not None:
                row |= _probe_mask(shards.read(*mask), num_classes)
            rows.append(row)
    return pa.Table.from_pylist(rows, schema)


def _probe(content: bytes, image_id: str, extra: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {"sha256": hashlib.sha256(content).hexdigest(), "decodes": False, EMBEDDING: _NOT_EMBEDDED}
    try:
        image = open_image(content)
        kind, channels = kind_of(image, content), len(image.getbands())
        upright = upright_rgb(image)
    except DataError as error:
        return {**found, "damage": str(error)}
    found |= {"decodes": True, "height": upright.height, "width": upright.width, "channels": channels}
    found |= {"suffix_fits": suffix_fits(image_id, kind.format), **{name: getattr(kind, name) for name in _KIND}}
    if FINGERPRINT in extra:
        found[FINGERPRINT] = fingerprint(upright)
    if EMBEDDING in extra:
        found[EMBEDDING] = embed(upright)
    if THUMBNAIL in extra:
        found[THUMBNAIL] = thumbnail(upright, _THUMBNAIL_SIDE).tobytes()
    return found | measure(upright)._asdict()


_NUMBERS = ("height", "width", "channels", "brightness", "contrast", "sharpness", "frames", "bits", "orientation")
_KIND = ("format", "mode", "frames", "bits", "alpha", "orientation")
_NOT_EMBEDDED = np.full(DIMENSIONS, np.nan, dtype=np.float32)


def _probe_mask(content: bytes, num_classes: int) -> dict[str, Any]:
    try:
        measured = measure_mask(read_mask(content), num_classes)
    except DataError as error:
        return {"mask_damage": str(error)}
    return {
        "mask_height": measured.height,
        "mask_width": measured.width,
        "mask_undeclared": ", ".join(map(str, measured.undeclared)) or None,
        "mask_classes": measured.classes,
    }


def embeddings_of(measured: pa.Table) -> npt.NDArray[np.float32]:
    """Return the embeddings of measured images, float32 (N, 64); NaN where an image is damaged."""
    return np.asarray(measured.column(EMBEDDING).combine_chunks().flatten().to_numpy(zero_copy_only=False)).reshape(-1, DIMENSIONS)


def thumbnails_of(measured: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return which images have a thumbnail, int64 (M,), and these, uint8 (M, 32, 32, 3)."""
    column = measured.column(THUMBNAIL)
    content = b"".join(column.drop_null().to_pylist())
    return np.flatnonzero(column.is_valid().to_numpy()), np.frombuffer(content, np.uint8).reshape(-1, _THUMBNAIL_SIDE, _THUMBNAIL_SIDE, 3)


def examine(subject: Subject) -> Part:
    """Check the files."""
    measured, config = subject.measured, subject.config
    mode = measured["mode"]
    found = subject.measurements.column("sha256")
    changed = np.flatnonzero(pc.fill_null(pc.not_equal(subject.table.column("sha256"), found), False))
    columns: dict[str, Any] = {
        "damage": measured["damage"],
        "changed_bytes": subject.texts(changed, [f"SHA-256 {text[:12]}…" for text in found.take(pa.array(changed)).to_pylist()]),
        "wrong_suffix": measured["format"].where(measured["suffix_fits"].eq(False), None),
        "cmyk": mode.where(mode.eq("CMYK"), None),
        "alpha_mode": mode.where(measured["alpha"].eq(True), None),
        "palette_mode": mode.where(mode.isin(["P", "PA"]), None),
        **{name: measured[name].astype("float64") for name in _NUMBERS},
    }
    unclear, size, brightness = config.max_unclear, (config.size[0], config.size[1]), (config.brightness[0], config.brightness[1])
    rules = [
        subject.clean("damaged", "images decode", "damage", "a whole image file"),
        subject.clean("changed_bytes", "bytes are as imported", "changed_bytes", "the manifest's SHA-256"),
        subject.bounds("size", "heights are in bounds", "height", *size, between(*size, "pixels")),
        subject.bounds("size", "widths are in bounds", "width", *size, between(*size, "pixels")),
        subject.bounds("channels", "channels are in bounds", "channels", 1, 4, between(1, 4)),
        subject.bounds("brightness", "brightness is in bounds", "brightness", *brightness, between(*brightness), max_share=unclear),
        subject.bounds(
            "contrast", "contrast is enough", "contrast", config.min_contrast, None, f"at least {config.min_contrast:g}", max_share=unclear
        ),
        subject.bounds("sharpness", "sharpness is enough", "sharpness", config.min_sharpness, None, f"at least {config.min_sharpness:g}"),
        subject.bounds("animated", "images have one frame", "frames", 1, 1, "one frame; the first is used"),
        subject.clean("wrong_suffix", "names say what the files are", "wrong_suffix", "the suffix of its format; the bytes decide"),
        subject.bounds("deep", "channels have 8 bits", "bits", 1, 8, "at most 8 bits; of more the high byte is used"),
        subject.clean("cmyk", "no image is CMYK", "cmyk", "RGB or gray; it is converted without a colour profile"),
        subject.clean("alpha", "no image is transparent", "alpha_mode", "no alpha; it is laid over white"),
        subject.clean("palette", "no image has a palette", "palette_mode", "RGB or gray; palettes are resolved"),
        subject.bounds("rotated", "images are stored upright", "orientation", 1, 1, "1 as EXIF's orientation; others are applied"),
    ]
    if subject.has("mask_sha256"):
        masks = _masks(subject)
        columns |= masks.columns
        rules += masks.rules
    return Part(columns, {}, rules)


def _masks(subject: Subject) -> Part:
    measured = subject.measured
    height, width, mask_height, mask_width = (measured[name].to_numpy(dtype=float) for name in ("height", "width", "mask_height", "mask_width"))
    with np.errstate(invalid="ignore"):
        known = np.isfinite(height) & np.isfinite(mask_height)
        other = np.flatnonzero(known & ((height != mask_height) | (width != mask_width)))
    found = [f"{mask_width[row]:.0f}×{mask_height[row]:.0f}, the image {width[row]:.0f}×{height[row]:.0f}" for row in other]
    columns = {
        "mask_damage": measured["mask_damage"],
        "mask_size": subject.texts(other, found),
        "mask_undeclared": measured["mask_undeclared"],
    }
    rules = [
        subject.clean("damaged_masks", "masks can be read", "mask_damage", "an indexed PNG of 8 bits"),
        subject.clean("mask_size", "masks have their image's size", "mask_size", "the upright image's size"),
        subject.clean("mask_ids", "masks hold declared classes", "mask_undeclared", f"0 to {len(subject.info.classes) - 1}, or {IGNORE}"),
    ]
    return Part(columns, {}, rules)
