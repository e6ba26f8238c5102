"""Files and folders of images → labels and scores, with a bundle alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from PIL import Image

from components import progress
from components.datasets.headers import FORMATS
from components.errors import DataError
from components.serving.bundle import Bundle
from components.serving.image import PreparedImage


@dataclass(frozen=True)
class PredictedRow:
    """One image: its prediction as columns and as told at a terminal (the answer, its score), or why there is none."""

    path: Path
    columns: dict[str, Any] | None
    error: str | None = None
    told: tuple[str, str] = ("", "")


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return the files among `paths` as they are, and the images in its folders, sorted; hidden files are left out.

    Raises:
        DataError: A path does not exist, or there is no image at all.
    """
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in suffixes and file.is_file())
            found += [file for file in inside if not any(part.startswith(".") for part in file.relative_to(path).parts)]
        elif path.exists():
            found.append(path)
        else:
            raise DataError(f"{path} not found; expected an image file or a folder of them")
    if not found:
        raise DataError(f"no image in {', '.join(map(str, paths))}; looked for files ending in {', '.join(sorted(suffixes))}")
    return list(dict.fromkeys(found))


def predict_files(bundle: Bundle, paths: Sequence[Path], batch_size: int = 64) -> Iterator[PredictedRow]:
    """Predict every image in files and folders, in the order of `find_images`; a bad file is a row that says why.

    Raises:
        DataError: A path does not exist, or there is no image at all.
    """
    files = find_images(paths)
    with progress.bar("predict", len(files)) as bar:
        for start in range(0, len(files), batch_size):
            batch = files[start : start + batch_size]
            yield from _predict_batch(bundle, batch)
            bar.update(len(batch))


def write_csv(rows: Iterable[PredictedRow], file: TextIO) -> int:
    """Write a table with one column for each class's number (`probabilities:CLASS`), lists as JSON; return the number of bad files."""
    written = [_flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in written for name in row))
    names = [*(name for name in names if name != "error"), "error"]
    writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(written)
    return sum(1 for row in written if row["error"])


def write_json(rows: Iterable[PredictedRow], file: TextIO) -> int:
    """Write a list of objects: path and the prediction's columns, or path and error; return the number of bad files."""
    written = [{"path": str(row.path)} | (row.columns if row.columns is not None else {"error": row.error}) for row in rows]
    json.dump(written, file, indent=2, ensure_ascii=False)
    file.write("\n")
    return sum(1 for row in written if "error" in row)


def table(rows: Iterable[PredictedRow]) -> str:
    """Return lines for a terminal: path, answer, score; a bad file's line says why."""
    shown = [(str(row.path), *_short(row)) for row in rows]
    widths = [max((len(line[column]) for line in shown), default=0) for column in range(2)]
    return "\n".join(f"{path:<{widths[0]}}  {label:<{widths[1]}}  {score}".rstrip() for path, label, score in shown)


def _predict_batch(bundle: Bundle, paths: Sequence[Path]) -> Iterator[PredictedRow]:
    prepared = [_prepare(bundle, path) for path in paths]
    images = [image for image in prepared if not isinstance(image, str)]
    predictions = iter(bundle.predict_images(images) if images else [])
    for path, image in zip(paths, prepared, strict=True):
        if isinstance(image, str):
            yield PredictedRow(path, None, image)
        else:
            prediction = next(predictions)
            yield PredictedRow(path, bundle.columns(prediction), told=bundle.postprocess.told(prediction, bundle.classes))


def _prepare(bundle: Bundle, path: Path) -> PreparedImage | str:
    try:
        return bundle.prepare(path.read_bytes(), path.name)
    except DataError as error:
        return str(error).removeprefix(f"{path.name}: ")
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _flat(row: PredictedRow) -> dict[str, Any]:
    flat: dict[str, Any] = {"path": str(row.path)}
    for name, value in (row.columns or {}).items():
        if isinstance(value, dict):
            flat |= {f"{name}:{key}": inner for key, inner in value.items()}
        elif isinstance(value, list):
            flat[name] = json.dumps(value, ensure_ascii=False)
        else:
            flat[name] = value
    return flat | {"error": row.error or ""}


def _short(row: PredictedRow) -> tuple[str, str]:
    if row.columns is None:
        return "–", f"not read: {row.error}"
    return row.told
