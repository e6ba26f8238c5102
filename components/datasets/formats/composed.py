"""Scenes of handwritten digits by name: `composed:detection` with boxes, `composed:segmentation` with masks; see `datasets.composed`."""

from __future__ import annotations

from components.datasets.composed import BACKGROUND, CLASSES, NUM_SCENES, detection_images, segmentation_images
from components.errors import unknown_name
from components.protocols import Reading, Source

PREFIX = "composed:"


class Composed:
    """Labelled images without a network: they are composed as they are asked for."""

    name = "composed"
    tasks = ("detection", "segmentation")

    def matches(self, source: Source) -> bool:
        """Tell whether `source` is `composed:TASK`."""
        return source.uri.startswith(PREFIX)

    def read(self, source: Source, task: str | None) -> Reading:  # noqa: ARG002 - the source names it
        """Compose 600 scenes of 64×64 pixels; `clutter` says whether there are lines.

        Raises:
            ConfigError: There is no such set.
        """
        name = source.uri.removeprefix(PREFIX)
        if name not in self.tasks:
            raise unknown_name("composed dataset", name, self.tasks)
        if name == "detection":
            return Reading(name, CLASSES, detection_images(), NUM_SCENES)
        return Reading(name, [BACKGROUND, *CLASSES], segmentation_images(), NUM_SCENES)


plugin = Composed()
