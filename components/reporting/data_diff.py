"""Two versions of a dataset side by side as one self-contained page: counts, and a few pictures of each kind of change."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
from PIL import Image, ImageDraw, ImageOps

from components.datasets.annotations import boxes_of
from components.datasets.dataset import Dataset
from components.datasets.headers import open_image
from components.datasets.versions.diff import KINDS, Diff
from components.errors import DataError
from components.files import replacing
from components.pages import environment

NUM_PICTURES = 18
_SIDE = 180
_SHOWN_ROWS = 30


def write_diff(diff: Diff, a: Dataset, b: Dataset, names: tuple[str, str], out: Path) -> None:
    """Write index.html, changes.csv (change, image_id, from, to) and summary.csv (one row a class) into the folder `out`.

    Args:
        diff: What differs.
        a: The first version: of its images only those that are shown are read.
        b: The second.
        names: What they are called.
        out: The folder; what was there is replaced.
    """
    with replacing(out) as folder:
        folder.mkdir(parents=True)
        pyarrow.csv.write_csv(diff.listing(), folder / "changes.csv")
        pyarrow.csv.write_csv(diff.counts(), folder / "summary.csv")
        (folder / "index.html").write_text(render(diff, a, b, names), encoding="utf-8")


def render(diff: Diff, a: Dataset, b: Dataset, names: tuple[str, str]) -> str:
    """Return the page; see `write_diff`."""
    counts = diff.counts()
    confusions = diff.confusions()
    return (
        environment("components.reporting")
        .get_template("data_diff.html.j2")
        .render(
            name=b.info.name,
            names=names,
            sizes=(len(a), len(b)),
            num=diff.num,
            boxes=all(dataset.table.column("label").null_count == len(dataset) for dataset in (a, b)),
            columns=counts.column_names,
            counts=[list(row.values()) for row in counts.to_pylist()],
            confusions=confusions.slice(0, _SHOWN_ROWS).to_pylist(),
            num_confusions=confusions.num_rows,
            added_classes=[name for name in b.info.classes if name not in a.info.classes],
            removed_classes=[name for name in a.info.classes if name not in b.info.classes],
            reordered=a.info.classes != b.info.classes and set(a.info.classes) == set(b.info.classes),
            kinds=[(kind, _pictures(diff, kind, a, b)) for kind in KINDS if diff.num[kind]],
        )
    )


def _pictures(diff: Diff, kind: str, a: Dataset, b: Dataset) -> list[dict[str, Any]]:
    """Return some images of a kind, taken evenly from all of them: caption, and as data URIs what A and B have."""
    of_a, of_b = diff.rows[kind]
    total = len(of_a)
    chosen = [number * total // min(total, NUM_PICTURES) for number in range(min(total, NUM_PICTURES))]
    found = []
    for index in chosen:
        row_a, row_b = int(of_a[index]), int(of_b[index])
        two_sided = kind in ("bytes changed", "boxes changed", "mask changed")
        shown = [
            (side, _picture(dataset, row, kind))
            for side, dataset, row in (("A", a, row_a), ("B", b, row_b))
            if row >= 0 and (two_sided or side == ("A" if kind == "removed" else "B"))
        ]
        image_id = (b if row_b >= 0 else a).table.column("image_id")[max(row_b, row_a) if min(row_a, row_b) < 0 else row_b].as_py()
        labels = [dataset.table.column("label")[row].as_py() for dataset, row in ((a, row_a), (b, row_b)) if row >= 0]
        found.append({"image_id": image_id, "labels": [label for label in dict.fromkeys(labels) if label is not None], "shown": shown})
    return found


def _picture(dataset: Dataset, row: int, kind: str) -> str | None:
    """Return an image, its annotations drawn, as a data URI; None if it cannot be decoded."""
    try:
        image = _drawn(dataset, row, kind)
    except DataError:
        return None
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _drawn(dataset: Dataset, row: int, kind: str) -> Image.Image:
    content = dataset.image(row)
    try:
        image = ImageOps.exif_transpose(open_image(content)).convert("RGB")
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise whatever they trip over
        raise DataError(f"the image is damaged: {error}") from error
    if kind == "mask changed" and (mask := dataset.mask(row)) is not None:
        levels = np.linspace(60, 255, max(2, len(dataset.info.classes))).astype(np.uint8)
        grey = np.where(mask == 255, 0, levels[np.minimum(mask, len(levels) - 1)]).astype(np.uint8)
        overlay = ImageOps.colorize(Image.fromarray(grey), "#101418", "#ffd23f", "#2f6fde").resize(image.size, Image.Resampling.NEAREST)
        return Image.blend(image, overlay, 0.6)
    boxes = boxes_of(dataset.table.column("boxes_xyxy")[row].as_py())
    draw = ImageDraw.Draw(image)
    width = max(1, round(max(image.size) / _SIDE * 2))
    for x0, y0, x1, y1 in boxes:
        draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline="#ffd23f", width=width)
    return image
