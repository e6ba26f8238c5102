"""What was measured about heat maps: explain.json."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.records import Interval, Record


class Sanity(Record):
    """Whether the heat maps of a method say more than chance; means over the images."""

    score: float = Field(description="of the answers, on the images as they are, 0..1")
    highlighted: float = Field(description="with what the map highlights most blanked")
    random: float = Field(description="with as much blanked at random")
    gain: Interval = Field(description="random minus highlighted: how much more the score falls by what the map highlights")
    untrained: float = Field(description="rank correlation with the maps of the same network with random weights, -1..1")

    @property
    def verdict(self) -> Literal["more than chance", "no more than chance", "less than chance"]:
        """What the interval of the gain says."""
        if self.gain.low > 0:
            return "more than chance"
        return "less than chance" if self.gain.high < 0 else "no more than chance"


class ExplanationRecord(Record):
    """explain → explain.json, a leaf. Without a method where nothing was measured."""

    num_images: int = Field(description="test images with an answer that was explained")
    blanked: float = Field(description="share of the image that was blanked at most")
    methods: dict[str, Sanity]
