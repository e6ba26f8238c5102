"""Which class a pixel of a foreign mask is of: by its index or its colour."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from ruamel.yaml import YAML

from components.datasets.annotations import IGNORE, Mask
from components.datasets.parsing import check_classes
from components.errors import DataError

Colour = tuple[int, int, int]
#: A class table is small; a larger file is none.
MAX_TABLE_BYTES = 2**20


@dataclass(frozen=True)
class ClassTable:
    """The classes of masks.

    Attributes:
        classes: In order.
        indices: By pixel value the place of its class in `classes`.
        colours: By colour the name of its class; a colour that stands for "not judged" has an empty name.
    """

    classes: list[str]
    indices: dict[int, int]
    colours: dict[Colour, str]


def parse_labelmap(content: bytes, name: str) -> ClassTable:
    """Read labelmap.txt, as CVAT and Datumaro write it: a line a class, name:r,g,b:parts:actions.

    A line's place is the index of its class, but `ignored` with the colour 224,224,192 is VOC's border, not judged.

    Raises:
        DataError: A line is not like that.
    """
    classes: list[str] = []
    colours: dict[Colour, str] = {}
    for number, line in enumerate(_text(content, name).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        label, _, rest = line.partition(":")
        try:
            colour = _colour(rest.split(":")[0].split(","))
        except ValueError:
            raise DataError(f"{name}: line {number} is {line[:60]!r}; expected name:r,g,b:parts:actions") from None
        border = label == "ignored" and colour == (224, 224, 192)
        if not border:
            classes.append(label)
        colours[colour] = "" if border else label
    classes = check_classes(classes, name)
    return ClassTable(classes, {index: index for index in range(len(classes))}, colours)


def parse_table(content: bytes, name: str) -> ClassTable:
    """Read a table of classes: CSV, JSON, YAML, or labelmap.txt.

    CSV: a column `name`, and `index`, or `r`, `g`, `b`, or `color` (#rrggbb); without them a line's place is the index.
    JSON: a list of such objects, or of names; an object from index to name; or Datumaro's `label_map` and `segmentation_colors`.
    YAML: `classes` (or `names`), from index to name, or a list of names.

    Raises:
        DataError: It is none of these.
    """
    if len(content) > MAX_TABLE_BYTES:
        raise DataError(f"{name} has {len(content):,} bytes; expected a table of classes of at most {MAX_TABLE_BYTES:,}")
    suffix = name.lower().rpartition(".")[2]
    try:
        if suffix == "txt":
            return parse_labelmap(content, name)
        if suffix == "csv":
            return _table(list(csv.DictReader(io.StringIO(_text(content, name)))))
        found: Any = json.loads(_text(content, name)) if suffix == "json" else parse_yaml(content, name)
        if suffix == "json" and isinstance(found, dict) and "label_map" in found:
            labels, colours = found["label_map"], found.get("segmentation_colors", [])
            return _table([{"name": label, "index": index} | _rgb(colours, int(index)) for index, label in labels.items()])
        if suffix != "json":
            found = found.get("classes", found.get("names"))
        if isinstance(found, dict):
            return _table([{"name": label, "index": index} for index, label in found.items()])
        return _table([item if isinstance(item, dict) else {"name": item} for item in found])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, OverflowError, csv.Error) as error:
        reason = str(error)[:80] or type(error).__name__
        raise DataError(f"{name} is no table of classes ({reason}); expected for each a name, and an index or a colour") from None


def parse_yaml(content: bytes, name: str) -> Any:
    """Return what a small YAML file says.

    Raises:
        DataError: It is no YAML, or too large.
    """
    if len(content) > MAX_TABLE_BYTES:
        raise DataError(f"{name} has {len(content):,} bytes; expected at most {MAX_TABLE_BYTES:,}")
    try:
        return YAML(typ="safe", pure=True).load(_text(content, name))
    except DataError:
        raise
    except Exception as error:  # the parser raises whatever it trips over: YAMLError, ValueError of dates, RecursionError
        raise DataError(f"{name} is no YAML that can be read: {' '.join(str(error).split())[:200]}") from None


def open_mask(content: bytes, name: str, size_hw: tuple[int, int]) -> Image.Image:
    """Open a mask, undecoded yet.

    Raises:
        DataError: It is no PNG (or BMP, TIFF), or of another size than the upright image.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=("PNG", "BMP", "TIFF", "GIF"))
    except Exception as error:  # Pillow's readers raise whatever they trip over
        raise DataError(f"the mask {name} is damaged, or no image without losses: {error}") from None
    if image.size != size_hw[::-1]:
        raise DataError(f"the mask {name} has {image.size[0]}×{image.size[1]} pixels, the upright image {size_hw[1]}×{size_hw[0]}")
    return image


def pixels_of(image: Image.Image, name: str) -> npt.NDArray[Any]:
    """Decode a mask: (H, W) indices, or (H, W, 3) colours.

    Raises:
        DataError: It is damaged.
    """
    try:
        if image.mode in ("RGB", "RGBA", "CMYK", "YCbCr", "LA", "PA"):
            return np.asarray(image.convert("RGB"))
        return np.asarray(image.convert("L") if image.mode == "1" else image)
    except Exception as error:  # as above
        raise DataError(f"the mask {name} is damaged: {error}") from None


def indexed_mask(content: bytes, name: str, table: ClassTable, classes: Sequence[str], size_hw: tuple[int, int]) -> Mask:
    """Return a foreign mask with the indices of `classes`, uint8 (H, W); 255 stays what is not judged unless the table names it.

    Raises:
        DataError: It is damaged, of another size, or has values or colours that the table does not name.
    """
    pixels = pixels_of(open_mask(content, name, size_hw), name)
    if pixels.ndim == 3:
        codes, inverse = np.unique(pixels.astype(np.int64) @ np.array([2**16, 2**8, 1]), return_inverse=True)
        known = {(r << 16) + (g << 8) + b: classes.index(label) if label else IGNORE for (r, g, b), label in table.colours.items()}
        _check(codes, known, name, lambda code: f"#{code:06x}", "colours")
    else:
        codes, inverse = np.unique(pixels, return_inverse=True)
        known = {value: classes.index(table.classes[place]) for value, place in table.indices.items()}
        known.setdefault(IGNORE, IGNORE)
        _check(codes, known, name, str, "values")
    return np.array([known[code] for code in codes.tolist()], dtype=np.uint8)[inverse].reshape(size_hw)


def _check(codes: npt.NDArray[Any], known: dict[int, int], name: str, shown: Any, what: str) -> None:
    unknown = [code for code in codes.tolist() if code not in known]
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise DataError(f"the mask {name} holds the {what} {', '.join(map(shown, unknown[:3]))}{more}, which are no classes")


def _table(rows: Iterable[dict[str, Any]]) -> ClassTable:
    classes: list[str] = []
    indices: dict[int, int] = {}
    colours: dict[Colour, str] = {}
    for place, row in enumerate(rows):
        label = str(row["name"]).strip()
        if label in classes:
            raise ValueError(f"'{label}' is named twice")
        given = row.get("index", row.get("id", ""))
        indices[place if given is None or given == "" else int(given)] = len(classes)
        classes.append(label)
        if row.get("color"):
            colours[_colour([int(part, 16) for part in re.findall("..", str(row["color"]).removeprefix("#"))])] = label
        elif row.get("r") not in (None, ""):
            colours[_colour([row["r"], row["g"], row["b"]])] = label
    return ClassTable(check_classes(classes, "the table"), indices, colours)


def _rgb(colours: Sequence[Any], index: int) -> dict[str, Any]:
    return dict(zip("rgb", colours[index], strict=True)) if colours else {}


def _colour(parts: Sequence[Any]) -> Colour:
    red, green, blue = (int(part) for part in parts)
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f"{red}, {green}, {blue} is no colour")
    return red, green, blue


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{name} is no text in UTF-8") from None
