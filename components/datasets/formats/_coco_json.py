"""The shape of COCO's JSON, as far as it is read; what else is in it is passed over."""

from __future__ import annotations

from typing import Annotated, Required

from pydantic import ConfigDict, FailFast, TypeAdapter
from typing_extensions import TypedDict

Id = int | str


class RunLengths(TypedDict):
    """Pixels as runs down the columns."""

    counts: list[int] | str
    size: tuple[int, int]


class CocoImage(TypedDict, total=False):
    """An image that a file lists."""

    id: Required[Id]
    file_name: Required[str]
    width: int | None
    height: int | None


class CocoCategory(TypedDict):
    """A class."""

    id: int
    name: str


class CocoSegment(TypedDict):
    """A segment of a panoptic PNG."""

    id: int
    category_id: int


class CocoAnnotation(TypedDict, total=False):
    """An object, a label, or what a panoptic PNG shows."""

    __pydantic_config__ = ConfigDict(allow_inf_nan=False)  # type: ignore[misc]
    id: Id
    image_id: Required[Id]
    category_id: int
    bbox: list[float] | None
    segmentation: list[list[float]] | RunLengths | None
    iscrowd: int | None
    file_name: str
    segments_info: Annotated[list[CocoSegment], FailFast()]


class CocoFile(TypedDict, total=False):
    """A whole file."""

    images: Required[Annotated[list[CocoImage], FailFast()]]
    annotations: Annotated[list[CocoAnnotation], FailFast()]
    categories: Annotated[list[CocoCategory], FailFast()]


SHAPE = TypeAdapter(CocoFile)
