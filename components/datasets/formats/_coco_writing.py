"""A dataset written as COCO (what its fields mean: `coco`): a JSON a split and kind of annotation, panoptic PNGs of one segment a class."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from components.datasets.annotations import IGNORE, Mask
from components.datasets.dataset import Dataset
from components.datasets.export_rows import Place, check_splits, row_cells, write_images
from components.errors import DataError


def write_coco(dataset: Dataset, out: Path) -> None:
    """Write images at their ids, and annotations/KIND_SPLIT.json; a class's category id is its index + 1.

    Raises:
        DataError: A split is none of train, val and test, or an id is no name for a file.
    """
    task, classes = dataset.info.task, dataset.info.classes
    rows = list(row_cells(dataset))
    check_splits(rows)
    write_images(dataset, [Place(row.image_id, row.image_id) for row in rows], out)
    categories = [{"id": index + 1, "name": name, "supercategory": ""} for index, name in enumerate(classes)]
    (out / "annotations").mkdir(exist_ok=True)
    for split in dict.fromkeys(row.split for row in rows):
        parts: dict[str, dict[str, list[Any]]] = {}
        for index, row in enumerate(rows):
            if row.split != split:
                continue
            image = {"id": index + 1, "file_name": row.image_id, "width": row.width, "height": row.height}
            kinds = ["labels"] if task == "classification" and row.label is not None else []
            kinds += ["instances"] if row.boxes is not None else []
            mask = dataset.mask(index) if row.has_mask else None
            kinds += ["panoptic"] if mask is not None else []
            for kind in kinds or ["image_info"]:
                part = parts.setdefault(kind, {"images": [], "annotations": []})
                part["images"].append(image)
                if kind == "labels" and row.label is not None:
                    part["annotations"].append({"id": index + 1, "image_id": index + 1, "category_id": classes.index(row.label) + 1})
                elif kind == "instances":
                    part["annotations"] += _instances(row, index + 1, len(part["annotations"]), classes)
                elif kind == "panoptic" and mask is not None:
                    stem = _stem("panoptic", split)
                    part["annotations"].append(_panoptic(mask, index + 1, out / "annotations" / stem, f"{index + 1:012d}.png"))
        for kind, part in parts.items():
            path = out / "annotations" / f"{_stem(kind, split)}.json"
            if path.exists():
                raise DataError(f"an image is called annotations/{path.name}; COCO has its annotations there. Rename it")
            path.write_text(json.dumps({"info": {}, "licenses": [], **part, "categories": categories}, allow_nan=False), encoding="utf-8")


def _stem(kind: str, split: str | None) -> str:
    return f"{kind}_{split}" if split else kind


def _instances(row: Any, image_id: int, start: int, classes: list[str]) -> Iterator[dict[str, Any]]:
    for number, ((x0, y0, x1, y1), label, ignore, rings) in enumerate(zip(row.boxes, row.labels, row.ignore, row.polygons, strict=True)):
        yield {
            "id": start + number + 1,
            "image_id": image_id,
            "category_id": classes.index(label) + 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
            "segmentation": rings,
            "iscrowd": int(ignore),
        }


def _panoptic(mask: Mask, image_id: int, folder: Path, file_name: str) -> dict[str, Any]:
    """Write a mask as a panoptic PNG, one segment a class, and return its annotation."""
    folder.mkdir(parents=True, exist_ok=True)
    segments = []
    for value in (value for value in np.unique(mask).tolist() if value != IGNORE):
        ys, xs = np.nonzero(mask == value)
        x, y = int(xs.min()), int(ys.min())
        box = [x, y, int(xs.max()) + 1 - x, int(ys.max()) + 1 - y]
        segments.append({"id": value + 1, "category_id": value + 1, "bbox": box, "area": len(xs), "iscrowd": 0})
    pixels = np.zeros((*mask.shape, 3), dtype=np.uint8)
    pixels[..., 0] = np.where(mask == IGNORE, 0, mask + 1)
    Image.fromarray(pixels).save(folder / file_name)
    return {"image_id": image_id, "file_name": file_name, "segments_info": segments}
