"""The section `validate` of params.yaml: what a dataset has to be, and what happens where it is not."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from components.config import Section
from components.datasets.checks.drift import DriftConfig

Level = Literal["fail", "warn", "off"]
Number = TypeVar("Number", int, float)


def _in_order(bounds: list[Number]) -> list[Number]:
    if bounds[0] > bounds[1]:
        raise ValueError("two numbers, the lower first")
    return bounds


Shares = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=2, max_length=2), AfterValidator(_in_order)]
Sizes = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2), AfterValidator(_in_order)]


class Levels(BaseModel):
    """What a broken rule does: `fail` refuses the data, `warn` tells of it, `off` does not look."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    missing_columns: Level = Field(default="fail", description="the manifest has its columns")
    wrong_types: Level = Field(default="fail", description="they are of their types")
    missing_values: Level = Field(default="fail", description="no image without an id or a digest")
    repeated_ids: Level = Field(default="fail", description="an image id stands once")
    left_out: Level = Field(default="warn", description="the last import took everything")

    damaged: Level = Field(default="fail", description="unreadable, truncated, empty, or a decompression bomb")
    changed_bytes: Level = Field(default="fail", description="the bytes have the manifest's SHA-256")
    animated: Level = Field(default="warn", description="several frames or pages; the first is used")
    wrong_suffix: Level = Field(default="warn", description="the name says another format than the bytes; the bytes decide")
    deep: Level = Field(default="warn", description="more than 8 bits a channel; the high byte is used")
    cmyk: Level = Field(default="warn", description="converted to RGB without a colour profile")
    alpha: Level = Field(default="warn", description="pixels that may be transparent; laid over white")
    palette: Level = Field(default="off", description="resolved to RGB")
    rotated: Level = Field(default="off", description="EXIF's orientation; it is applied")

    size: Level = Field(default="fail", description="height and width")
    channels: Level = Field(default="fail", description="1 to 4")
    brightness: Level = Field(default="fail")
    contrast: Level = Field(default="fail")
    sharpness: Level = Field(default="warn")

    unlabelled: Level = Field(default="fail", description="an image that nobody has annotated")
    undeclared_classes: Level = Field(default="fail", description="a label that dataset.yaml does not declare")
    label_conflicts: Level = Field(default="fail", description="the same bytes under two labels")
    unused_classes: Level = Field(default="warn", description="a class that no image has")
    class_images: Level = Field(default="fail", description="images of a class")
    class_share: Level = Field(default="fail", description="a class's share of the images")
    num_images: Level = Field(default="fail", description="images of all classes")
    num_classes: Level = Field(default="fail", description="two classes or more, where an image has one label")
    label_errors: Literal["warn", "off"] = Field(default="off", description="labels that a quick model finds unlikely; a report, never a refusal")

    empty_boxes: Level = Field(default="fail", description="boxes of zero or negative area")
    boxes_outside: Level = Field(default="fail", description="boxes that reach out of the image")
    repeated_boxes: Level = Field(default="warn", description="the same box twice")
    small_boxes: Level = Field(default="warn")
    large_boxes: Level = Field(default="warn")
    no_objects: Level = Field(default="warn", description="images that were annotated as empty")
    short_polygons: Level = Field(default="fail", description="fewer than three points")
    crossing_polygons: Level = Field(default="warn", description="outlines that cross themselves")

    damaged_masks: Level = Field(default="fail", description="masks that cannot be read")
    mask_size: Level = Field(default="fail", description="masks of another size than their image")
    mask_ids: Level = Field(default="fail", description="pixels of a class that dataset.yaml does not declare")

    copies: Level = Field(default="warn", description="the same bytes twice")
    copies_across_splits: Level = Field(default="fail", description="the same bytes on two sides of the source's own split")
    near_duplicates: Level = Field(default="warn", description="re-encoded, resized, mirrored, brightened or cropped a little")
    near_duplicates_across_splits: Level = Field(default="fail", description="the same on two sides of the source's own split")
    groups_across_splits: Level = Field(default="fail", description="a group on two sides of the source's own split")

    drift: Level = Field(default="warn", description="another population than the version that is compared with")


class ValidateConfig(Section):
    """The section `validate` of params.yaml."""

    section: ClassVar[str] = "validate"
    min_images: int = Field(default=1, ge=1)
    min_class_images: int = Field(default=2, ge=1, description="of each class, over all splits")
    max_class_images: int | None = Field(default=None, ge=1, description="null: no bound")
    class_share: Shares = Field(default=[0.0, 1.0], description="each class's share of the images; where there are boxes, of the boxes")
    size: Sizes = Field(default=[1, 65535], description="height and width in pixels")
    brightness: Shares = Field(default=[0.0, 1.0], description="mean of the luma in 0..1")
    min_contrast: float = Field(default=0.0, ge=0, le=1, description="standard deviation of the luma in 0..1")
    min_sharpness: float = Field(default=0.0, ge=0, description="variance of the luma's Laplacian")
    max_unclear: float = Field(default=0.01, ge=0, lt=1, description="share of the images that may be outside brightness, or contrast")
    max_label_conflicts: int = Field(default=0, ge=0, description="images whose bytes stand under another label too")
    max_leaks: int = Field(default=0, ge=0, description="copies, near duplicates or groups each that may stand on two sides of the source's split")
    max_hash_distance: int = Field(default=8, ge=0, le=13, description="bits of 64 in which the hashes of near duplicates may differ")
    min_correlation: float = Field(default=0.95, gt=0, le=1, description="of the thumbnails of near duplicates")
    max_outside: float = Field(default=1.0, ge=0, description="pixels by which a box may reach out of its image: rounding")
    min_box_side: float = Field(default=2.0, ge=0, description="pixels; a box with a shorter side is unlikely small")
    max_box_share: float = Field(default=0.98, gt=0, le=1, description="of its image; a larger box is unlikely large")
    drift: DriftConfig = DriftConfig()
    levels: Levels = Levels()
