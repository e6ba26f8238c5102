"""`darkroom data import`: a foreign layout becomes a dataset, or the next version of one. What cannot be taken is told, never lost."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from components.config import Section
from components.datasets.locks import writing
from components.datasets.manifest import DatasetInfo, read_dataset
from components.datasets.parts import written_on_cluster
from components.datasets.reading import Images
from components.datasets.rows import Part
from components.datasets.sources import open_source
from components.datasets.writing import (
    Mode,
    TooMuchQuarantined,
    WriteSummary,
    check_letters,
    check_name,
    clear_remains,
    parts_folder,
    remapped_masks,
    write_dataset,
)
from components.errors import ConfigError, DataError, InputError
from components.files import replacing, spreadsheet_safe
from components.protocols import DatasetFormat, ImportedImage, Quarantined, Source, plugin, plugin_names

log = logging.getLogger(__name__)

FORMATS = "components.datasets.formats"


class ImportConfig(Section):
    """The section `import` of params.yaml."""

    section: ClassVar[str] = "import"
    max_bad: float = Field(default=0.01, ge=0, le=1, description="share of the images that may be quarantined; more refuses the import")
    max_images: int = Field(default=5_000_000, ge=1, description="a source that lists more is refused before anything is read")


def import_dataset(
    source: str,
    name: str,
    root: Path = Path("data"),
    *,
    format: str | None = None,  # noqa: A002 - the command's own word
    task: str | None = None,
    version: str | None = None,
    mode: Mode = "new",
    config: ImportConfig | None = None,
    quarantine: Path | None = None,
    ray_address: str | None = None,
) -> WriteSummary:
    """Read a foreign layout into `root/name`.

    Args:
        source: A folder, an archive, an object store's URI, or a name that a format knows (`sklearn:digits`).
        name: The dataset's name; also its folder's.
        root: Where datasets stand.
        format: A file of components/datasets/formats; None: the one that recognises `source`.
        task: What the images are labelled for; None: what their annotations are best for.
        version: The data team's own name for this state of the data; None: 1.0.0, or what it was.
        mode: Whether the name has to be free, or is added to, or replaced.
        config: The section `import` of params.yaml.
        quarantine: Where to write image_id, reason of what could not be taken, as CSV; written when the import is refused, too.
        ray_address: A Ray cluster whose nodes read the images and write the shards; they and this machine see `source` and `root` by the same
            paths. Not with `append`. None: this machine.

    Raises:
        InputError: The name is taken or reserved, the format unknown, the source not of that format, or too much of it cannot be taken.
            Nothing was changed.
        TransientError: Another process writes the dataset, or the source does not answer.
    """
    if ray_address and mode == "append":
        raise ConfigError("--ray and --append were both said; import with --ray under another name, then `darkroom data merge` the two")
    config = config or ImportConfig()
    check_letters(name, root)
    with writing(root / name):
        clear_remains(root / name)
        check_name(name, root, mode)
    if version is not None and not version.strip():
        raise InputError("the version is empty; expected the data team's name for this state of the data, for example 1.0.0")
    opened = open_source(source)
    reader = _format_of(opened, format)
    if task is not None and task not in reader.tasks:
        raise ConfigError(f"--task {task}: the format {reader.name} holds labels for {' or '.join(reader.tasks)}")
    reading = reader.read(opened, task)
    if reading.total > config.max_images:
        raise DataError(
            f"{source} lists {reading.total:,} images; expected at most import.max_images = {config.max_images:,}. Raise it, or import in parts"
        )
    root.mkdir(parents=True, exist_ok=True)
    with writing(root / name), ExitStack() as stack:
        old = read_dataset(root / name) if mode == "append" else None
        info = DatasetInfo(name=name, version=version or (old.version if old else "1.0.0"), task=reading.task, classes=reading.classes)
        images: Iterable[ImportedImage | Quarantined | Part] = reading.images
        if old:
            grown = [*old.classes, *(given for given in reading.classes if given not in old.classes)]
            images = remapped_masks(reading.images, reading.classes, grown)
        elif ray_address:
            if not isinstance(reading.images, Images):
                raise ConfigError(f"--ray: {source} has no files that the nodes of a cluster could read; import it without")
            images = written_on_cluster(reading.images, info, stack.enter_context(parts_folder(root / name)), ray_address)
        try:
            summary = write_dataset(images, info, root, mode, reading.total, max_bad=config.max_bad)
        except TooMuchQuarantined as error:
            if quarantine is None:
                raise
            _write_quarantine(error.quarantined, quarantine)
            raise DataError(f"{error}. All of them: {quarantine}") from None
    opened.release()
    if quarantine is not None:
        _write_quarantine([Quarantined(*item) for item in summary.quarantined], quarantine)
    log.info("%s %s: %d images of %d classes in %s", name, info.version, summary.num_images, len(summary.class_counts), root / name)
    return summary


def _write_quarantine(items: list[Quarantined], path: Path) -> None:
    with replacing(path) as partial, partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image_id", "reason"])
        writer.writerows((spreadsheet_safe(item.image_id), spreadsheet_safe(item.reason)) for item in items)


def _format_of(source: Source, name: str | None) -> DatasetFormat:
    if name is not None:
        chosen: DatasetFormat = plugin(FORMATS, "dataset format", name)
        return chosen
    known: list[DatasetFormat] = [plugin(FORMATS, "dataset format", known) for known in plugin_names(FORMATS)]
    matching = [reader for reader in known if reader.matches(source)]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(reader.name for reader in matching or known)
    if matching:
        raise ConfigError(f"{source.uri} could be any of {names}; say which with --format")
    expected = "expected CLASS/image.jpg or SPLIT/CLASS/image.jpg below it, or images with annotations of a known layout"
    raise DataError(f"{source.uri}: the layout was not recognised; {expected}. If it is one of these, say --format: {names}")
