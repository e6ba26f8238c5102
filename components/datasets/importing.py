"""A foreign layout of labelled images becomes a dataset: bytes exactly as they come, whole or not at all."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from components.datasets.headers import read_header
from components.datasets.manifest import ANNOTATIONS, COLUMNS, MANIFEST, DatasetInfo, dataset_ref, write_dataset_info, write_manifest
from components.datasets.shards import ShardWriter
from components.errors import ConfigError, DataError, InputError
from components.files import replacing
from components.progress import bar
from components.protocols import DatasetFormat, ImportedImage, plugin, plugin_names
from components.records import DatasetRef, Record

log = logging.getLogger(__name__)

FORMATS = "components.datasets.formats"
#: What the stages write beside the datasets.
RESERVED_NAMES = {"training", "splits", "splits.parquet"}
_GIVEN_BY_THE_BYTES = [column for column in COLUMNS if column not in ("split", "group")]


class ImportSummary(Record):
    """What came in."""

    dataset: DatasetRef
    path: str
    class_counts: dict[str, int]
    num_damaged: int
    num_bytes: int
    num_shards: int


def import_dataset(
    source: str,
    name: str,
    root: Path = Path("data"),
    format: str | None = None,  # noqa: A002 - the command's own word
    version: str = "1.0.0",
    replace: bool = False,
) -> ImportSummary:
    """Read a foreign layout into `root/name`.

    Args:
        source: A folder, or a URI that a format knows (`sklearn:digits`).
        name: The dataset's name; also its folder's.
        root: Where datasets stand.
        format: A file of components/datasets/formats; None: the one that recognises `source`.
        version: The data team's own name for this state of the data.
        replace: Replace a dataset of that name.

    Raises:
        InputError: The name is taken or reserved, the format unknown, or the source not of that format. Nothing was changed.
    """
    check_name(name, root, replace)
    if not version.strip():
        raise InputError("the version is empty; expected the data team's name for this state of the data, for example 1.0.0")
    reader = _format_of(source, format)
    info = DatasetInfo(name=name, version=version, task="classification", classes=reader.classes(source))
    return write_dataset(reader.images(source), info, root, replace, total=reader.count(source))


def check_name(name: str, root: Path, replace: bool) -> None:
    """Check that a dataset may be written as `root/name`.

    Raises:
        InputError: It may not.
    """
    if name.lower() in RESERVED_NAMES:
        raise InputError(f"the name '{name}' is reserved: the steps write {root / name}. Choose another")
    if not name or not all(letter.isascii() and (letter.isalnum() or letter in "_.-") for letter in name) or not name[0].isalnum():
        raise InputError(f"'{name}' is no name for a dataset; expected letters, digits and . _ - after a letter or digit")
    if ((root / name).exists() or (root / f"{name}.dvc").exists()) and not replace:
        raise InputError(f"{root / name} exists; say --replace to put the new data in its place, or choose another name")


def write_dataset(images: Iterable[ImportedImage], info: DatasetInfo, root: Path, replace: bool = False, total: int | None = None) -> ImportSummary:
    """Write images as the dataset `root/NAME`; damaged images are kept, for validation to name.

    Args:
        images: In the order in which they will stand; `row` may give `label`, `split`, `group` and any metadata columns.
        info: What dataset.yaml says.
        root: Where datasets stand.
        replace: Replace a dataset of that name.
        total: How many images there are, where that is known.

    Raises:
        InputError: The name is taken, an id comes twice, a row gives a column that belongs to the manifest, or there is no image.
    """
    check_name(info.name, root, replace)
    rows: list[dict[str, Any]] = []
    out = root / info.name
    with replacing(out) as folder:
        folder.mkdir(parents=True)
        with ShardWriter(folder) as shards, bar(f"import {info.name}", total or 0) as progress:
            for image in images:
                rows.append(_row(image, shards))
                progress.update()
        if not rows:
            raise DataError(f"dataset {info.name}: the source holds no images")
        frame = pd.DataFrame(rows)
        repeated = frame["image_id"][frame["image_id"].duplicated()]
        if len(repeated):
            raise DataError(f"dataset {info.name}: image ids come twice: {', '.join(repeated.head(3))}; ids must be unique")
        frame = frame.reindex(columns=[*frame.columns, *(name for name in (*COLUMNS, *ANNOTATIONS) if name not in frame)])
        write_manifest(frame, folder / MANIFEST)
        write_dataset_info(info, folder)
        num_shards = shards.num_shards
    summary = ImportSummary(
        dataset=dataset_ref(out),
        path=out.as_posix(),
        class_counts={name: Counter(frame["label"])[name] for name in info.classes},
        num_damaged=int(frame["height"].isna().sum()),
        num_bytes=int(frame["length"].sum()),
        num_shards=num_shards,
    )
    damaged = f", {summary.num_damaged} of them damaged (validate names them)" if summary.num_damaged else ""
    log.info("%s %s: %d images of %d classes in %s%s", info.name, info.version, len(frame), len(info.classes), out, damaged)
    return summary


def _row(image: ImportedImage, shards: ShardWriter) -> dict[str, Any]:
    if not image.image_id.isprintable():  # an undecodable name has surrogates, which are not printable
        raise DataError(f"the name {image.image_id!r} is no text in UTF-8, or has unprintable letters; rename the file")
    taken = [column for column in image.row if column in _GIVEN_BY_THE_BYTES]
    if taken:
        raise DataError(f"{image.image_id}: the column '{taken[0]}' is the manifest's own; a source may not give it")
    shard, offset, length = shards.add(image.image_id, image.content)
    header = read_header(image.content)
    return {
        "image_id": image.image_id,
        "sha256": hashlib.sha256(image.content).hexdigest(),
        "shard": shard,
        "offset": offset,
        "length": length,
        "height": header.height if header else None,
        "width": header.width if header else None,
        "orientation": header.orientation if header else None,
        **image.row,
    }


def _format_of(source: str, name: str | None) -> DatasetFormat:
    if name is not None:
        chosen: DatasetFormat = plugin(FORMATS, "dataset format", name)
        return chosen
    known: list[DatasetFormat] = [plugin(FORMATS, "dataset format", known) for known in plugin_names(FORMATS)]
    matching = [reader for reader in known if reader.matches(source)]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(reader.name for reader in matching or known)
    if matching:
        raise ConfigError(f"{source} could be any of {names}; say which with --format")
    if "://" not in source and not source.startswith("sklearn:") and not Path(source).exists():
        raise DataError(f"{source} not found; expected a folder of images, or sklearn:digits")
    raise DataError(f"{source}: the layout was not recognised; expected CLASS/image.jpg or SPLIT/CLASS/image.jpg below it, or say --format ({names})")
