"""Datasets that come with scikit-learn: `sklearn:digits`, 1,797 real handwritten digits of 8×8 pixels (UCI ML, Alpaydin and Kaynak 1998)."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from components.errors import unknown_name
from components.protocols import ImportedImage, Reading, Source

PREFIX = "sklearn:"
NAMES = ["digits"]


class Sklearn:
    """Images without a network: they are in the installed package."""

    name = "sklearn"
    tasks = ("classification",)

    def matches(self, source: Source) -> bool:
        """Tell whether `source` is `sklearn:NAME`."""
        return source.uri.startswith(PREFIX)

    def read(self, source: Source, task: str | None) -> Reading:  # noqa: ARG002 - they serve one task
        """Read each digit as a grayscale PNG, 0..16 scaled to 0..255; `stroke` is bold for the half with more ink, else thin.

        Raises:
            ConfigError: scikit-learn has no such dataset of images.
        """
        name = source.uri.removeprefix(PREFIX)
        if name not in NAMES:
            raise unknown_name("scikit-learn dataset", name, NAMES)
        return Reading("classification", [str(digit) for digit in range(10)], digits(), 1797)


def digits() -> Iterator[ImportedImage]:
    """Yield the 1,797 digits in scikit-learn's order."""
    from sklearn.datasets import load_digits

    found = load_digits()
    scaled = np.rint(found.images * (255 / 16)).astype(np.uint8)
    ink = found.images.mean(axis=(1, 2))
    bold = ink > np.median(ink)
    for index, (pixels, label) in enumerate(zip(scaled, found.target, strict=True)):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG", compress_level=0)  # stored: the same bytes whatever zlib Pillow was built with
        yield ImportedImage(f"{index:04d}.png", buffer.getvalue(), {"label": str(label), "stroke": "bold" if bold[index] else "thin"})


plugin = Sklearn()
