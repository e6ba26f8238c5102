"""Datasets that come with scikit-learn: `sklearn:digits`, 1,797 real handwritten digits of 8×8 pixels (UCI ML, Alpaydin and Kaynak 1998)."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from components.errors import unknown_name
from components.protocols import ImportedImage

PREFIX = "sklearn:"
NAMES = ["digits"]


class Sklearn:
    """Images without a network: they are in the installed package."""

    name = "sklearn"

    def matches(self, source: str) -> bool:
        """Tell whether `source` is `sklearn:NAME`."""
        return source.startswith(PREFIX)

    def classes(self, source: str) -> list[str]:
        """Return the ten digits as text.

        Raises:
            ConfigError: scikit-learn has no such dataset of images.
        """
        name = source.removeprefix(PREFIX)
        if name not in NAMES:
            raise unknown_name("scikit-learn dataset", name, NAMES)
        return [str(digit) for digit in range(10)]

    def images(self, source: str) -> Iterator[ImportedImage]:
        """Yield each digit as a grayscale PNG, 0..16 scaled to 0..255; `stroke` is bold for the half with more ink, else thin."""
        self.classes(source)
        from sklearn.datasets import load_digits

        digits = load_digits()
        scaled = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        ink = digits.images.mean(axis=(1, 2))
        bold = ink > np.median(ink)
        for index, (pixels, label) in enumerate(zip(scaled, digits.target, strict=True)):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, format="PNG", compress_level=0)  # stored: the same bytes whatever zlib Pillow was built with
            yield ImportedImage(f"{index:04d}.png", buffer.getvalue(), {"label": str(label), "stroke": "bold" if bold[index] else "thin"})

    def count(self, source: str) -> int:
        """Return how many images there are."""
        self.classes(source)
        return 1797


plugin = Sklearn()
