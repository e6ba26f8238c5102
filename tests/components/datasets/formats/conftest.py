"""Tiny samples of foreign layouts: by format and variant the files of a source, name → bytes. Images are 8×6 pixels."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from components.datasets.importing import FORMATS
from components.datasets.sources import open_source
from components.protocols import ImportedImage, Quarantined, Reading, plugin

WIDTH, HEIGHT = 8, 6


def picture(value: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(buffer, format=kind)
    return buffer.getvalue()


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def half_mask(left: int, right: int) -> np.ndarray:
    """A mask of the sample's size whose left four columns are `left`, the others `right`."""
    return np.repeat(np.array([[left] * 4 + [right] * 4]), HEIGHT, axis=0)


def text(content: Any) -> bytes:
    return (content if isinstance(content, str) else json.dumps(content)).encode()


def put(folder: Path, files: Mapping[str, bytes]) -> str:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(folder)


def read(folder: Path, files: Mapping[str, bytes], name: str, task: str | None = None) -> Reading:
    """Write a source and read it; the images are there as a list."""
    reading = plugin(FORMATS, "dataset format", name).read(open_source(put(folder, files)), task)
    return Reading(reading.task, reading.classes, list(reading.images), reading.total)


def rows(reading: Reading) -> dict[str, dict[str, Any]]:
    return {image.image_id: dict(image.row) for image in reading.images if isinstance(image, ImportedImage)}


def masks(reading: Reading) -> dict[str, Any]:
    return {image.image_id: image.mask for image in reading.images if isinstance(image, ImportedImage)}


def reasons(reading: Reading) -> dict[str, str]:
    return {image.image_id: image.reason for image in reading.images if isinstance(image, Quarantined)}


def coco_json(images: list[dict[str, Any]] | None = None, annotations: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    images = images or [
        {"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
        {"id": 9, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
    ]
    default = [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3.5, 1], "iscrowd": 0, "segmentation": [[1, 2, 4.5, 2, 4.5, 3, 1, 3]]},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 2], "iscrowd": 1, "segmentation": {"counts": [0, 2, 46], "size": [6, 8]}},
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}]
    return {"images": images, "annotations": default if annotations is None else annotations, "categories": categories}


def _panoptic() -> dict[str, bytes]:
    pixels = np.zeros((HEIGHT, WIDTH, 3))
    pixels[:, :4] = (5, 1, 0)  # segment 5 + 256
    listed = {
        **coco_json(),
        "annotations": [{"image_id": 7, "file_name": "a.png", "segments_info": [{"id": 261, "category_id": 3, "iscrowd": 0}]}],
    }
    return {
        "val/a.png": picture(1),
        "val/b.png": picture(2),
        "annotations/panoptic_val.json": text(listed),
        "annotations/panoptic_val/a.png": png(pixels),
    }


def voc_xml(objects: str, source: str = "", size: str = f"<width>{WIDTH}</width><height>{HEIGHT}</height>", name: str = "a.png") -> bytes:
    return text(f"<annotation><filename>{name}</filename>{source}<size>{size}</size>{objects}</annotation>")


def voc_object(name: str, box: tuple[float, float, float, float], difficult: int = 0) -> str:
    corners = "".join(f"<{corner}>{value}</{corner}>" for corner, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"


CVAT = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels><label><name>dog</name></label><label><name>cat</name></label></labels></task></meta>
<image id="0" name="a.png" subset="train" width="{WIDTH}" height="{HEIGHT}">
<box label="cat" xtl="1" ytl="1.5" xbr="3" ybr="4" z_order="1"/>
<polygon label="dog" points="4,1;7,1;7,3" z_order="0"/>
<mask label="dog" rle="1,2,1" left="2" top="4" width="2" height="2"/>
</image>
<image id="1" name="b.png" width="{WIDTH}" height="{HEIGHT}"/>
</annotations>"""


def labelme_json(shapes: list[dict[str, Any]], image: str = "a.png", **more: Any) -> dict[str, Any]:
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
        **more,
    }


def labelme_shape(label: str, kind: str, points: list[list[float]], **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def studio_result(kind: str, value: dict[str, Any], labels: list[str]) -> dict[str, Any]:
    return {"type": kind, "original_width": WIDTH, "original_height": HEIGHT, "value": {**value, kind: labels}}


def studio_task(image: str, results: list[dict[str, Any]] | None) -> dict[str, Any]:
    given = [] if results is None else [{"result": results, "was_cancelled": False}]
    return {"id": 1, "data": {"image": image}, "annotations": given}


def _studio() -> list[dict[str, Any]]:
    first = studio_result("rectanglelabels", {"x": 25.0, "y": 50.0, "width": 50.0, "height": 25.0, "rotation": 0}, ["cat"])
    second = studio_result("polygonlabels", {"points": [[0, 0], [50, 0], [50, 50]]}, ["dog"])
    return [studio_task("/data/upload/1/0123abcd-a.png", [first, second]), studio_task("/data/local-files/?d=images/b.png", [])]


_TWO = {"images/a.png": picture(1), "images/b.png": picture(2)}
SAMPLES: dict[str, dict[str, dict[str, bytes]]] = {
    "coco": {
        "instances": {**_TWO, "annotations/instances.json": text(coco_json())},
        "panoptic": _panoptic(),
        "labels": {**_TWO, "annotations/labels_train.json": text(coco_json(annotations=[{"id": 1, "image_id": 7, "category_id": 3}]))},
    },
    "voc": {
        "boxes": {
            "JPEGImages/a.png": picture(1),
            "JPEGImages/b.png": picture(2),
            "Annotations/a.xml": voc_xml(voc_object("dog", (1, 2, 3, 4)) + voc_object("cat", (2, 2, 2, 2), 1)),
            "Annotations/b.xml": voc_xml("", name="b.png"),
            "ImageSets/Main/train.txt": b"a\n",
            "ImageSets/Main/val.txt": b"b\n",
        },
        "masks": {"JPEGImages/a.png": picture(1), "SegmentationClass/a.png": png(half_mask(0, 8))},
    },
    "yolo": {
        "boxes": {**_TWO, "labels/a.txt": b"0 0.5 0.5 0.25 0.5\n1 0.25 0.5 0.5 1\n", "labels/b.txt": b"", "data.yaml": b"names: [dog, cat]\n"},
        "outlines": {**_TWO, "labels/a.txt": b"1 0 0 0.5 0 0.5 0.5\n"},
    },
    "cvat": {"shapes": {**_TWO, "annotations.xml": text(CVAT)}},
    "labelme": {
        "shapes": {
            "a.png": picture(1),
            "b.png": picture(2),
            "a.json": text(
                labelme_json(
                    [labelme_shape("cat", "rectangle", [[5, 4], [1, 2]]), labelme_shape("dog", "polygon", [[0, 0], [4, 0], [4, 3]])],
                )
            ),
        },
        "xml": {
            "Images/x/a.png": picture(1),
            "Annotations/x/a.xml": text(
                f"<annotation><filename>a.png</filename><folder>x</folder><imagesize><nrows>{HEIGHT}</nrows><ncols>{WIDTH}</ncols></imagesize>"
                "<object><name>cat</name><deleted>0</deleted><polygon><pt><x>1</x><y>1</y></pt><pt><x>4</x><y>1</y></pt><pt><x>4</x><y>5</y></pt>"
                "</polygon></object></annotation>"
            ),
        },
    },
    "label_studio": {"shapes": {**_TWO, "export.json": text(_studio())}},
    "masks": {
        "indexed": {**_TWO, "masks/a.png": png(half_mask(0, 17)), "classes.csv": b"name,index\nroad,0\ncat,17\n"},
        "binary": {**_TWO, "masks/a.png": png(half_mask(0, 255))},
    },
    "image_folder": {"classes": {"cat/a.png": picture(1), "dog/b.png": picture(2)}},
}


def base64_png(pixels: Any) -> str:
    return base64.b64encode(png(pixels)).decode()
