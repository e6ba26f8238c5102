"""The random policy of training images: `augment.policy` in params.yaml. Its torch half is `components.augmentation.random_policy`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Policy(BaseModel):
    """What may happen to a training image each time it is shown. 0 (or `none`) is off; a new policy changes nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    horizontal_flip: float = Field(default=0.0, ge=0, le=1, description="probability")
    vertical_flip: float = Field(default=0.0, ge=0, le=1, description="probability")
    crop: float = Field(default=0.0, ge=0, lt=1, description="share of the side that is padded by reflection, then cropped back at random")
    random_resized_crop: float = Field(default=1.0, gt=0, le=1, description="least share of the area that is kept; 1: off")
    rotate: float = Field(default=0.0, ge=0, le=180, description="degrees, either way")
    shift: float = Field(default=0.0, ge=0, le=1, description="share of the side, either way")
    scale: float = Field(default=0.0, ge=0, lt=1, description="things get larger or smaller by a factor between 1-x and 1+x")
    shear: float = Field(default=0.0, ge=0, lt=45, description="degrees along each axis, either way")
    brightness: float = Field(default=0.0, ge=0, le=1, description="factor between 1-x and 1+x")
    contrast: float = Field(default=0.0, ge=0, le=1, description="factor between 1-x and 1+x")
    saturation: float = Field(default=0.0, ge=0, le=1, description="factor between 1-x and 1+x")
    hue: float = Field(default=0.0, ge=0, le=0.5, description="share of the colour circle, either way")
    erasing: float = Field(default=0.0, ge=0, le=1, description="probability; Zhong et al. 2020, arXiv:1708.04896")
    auto: Literal["none", "trivial", "randaugment"] = Field(default="none", description="arXiv:2103.10158, arXiv:1909.13719")
    rand_num_ops: int = Field(default=2, ge=1, le=16, description="of randaugment")
    rand_magnitude: int = Field(default=9, ge=0, le=30, description="of randaugment, on torchvision's scale of 31 bins")
    mixup: float = Field(default=0.0, ge=0, description="alpha of the Beta distribution; arXiv:1710.09412")
    cutmix: float = Field(default=0.0, ge=0, description="alpha of the Beta distribution; arXiv:1905.04899")
    mosaic: float = Field(default=0.0, ge=0, le=1, description="probability of four images on one canvas; arXiv:2004.10934")
    copy_paste: float = Field(default=0.0, ge=0, le=1, description="probability of another image's objects on top; arXiv:2012.07177")
    mixed_epochs: float = Field(
        default=0.9, ge=0, le=1, description="share of the epochs, from the first on, in which mixup, cutmix, mosaic and copy_paste are on"
    )
