"""Heat maps laid over their images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.evaluation.overlays import beside, enlarged
from components.explanation.methods import METHODS
from components.explanation.subject import HeatMap, Subject
from components.protocols import Answer, Figures, plugin

Pixels = npt.NDArray[np.uint8]

#: How much of a pixel its colour covers where the map is at its largest.
_COVERS = 0.8


def explained(subject: Subject, pixels: Pixels, answer: Answer) -> Pixels:
    """Return an image with the answer marked in it, and beside it the heat map of each method.

    Args:
        subject: Who is explained.
        pixels: uint8 (H, W, C), as the network takes it.
        answer: What is explained.
    """
    figures: Figures = plugin("components.evaluation.figures", "task", subject.spec.task)
    marked = np.asarray(enlarged(figures.marked(pixels, answer.part, subject.spec.classes))[0])
    image = subject.image(pixels)
    return beside([marked, *(with_heat(pixels, method(subject, image, answer)) for method in METHODS.values())])


def with_heat(image: Pixels, heat: HeatMap) -> Pixels:
    """Lay a map over an image, uint8 (H, W, 1 or 3): grey where nothing speaks for the answer, from red to yellow where more does."""
    from matplotlib import colormaps

    strength = heat / heat.max() if heat.max() > 0 else heat
    colours = 255 * colormaps["autumn"](strength)[..., :3]
    pixels = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    share = _COVERS * strength[..., None]
    return np.asarray(enlarged((pixels * (1 - share) + colours * share).round().astype(np.uint8))[0])
