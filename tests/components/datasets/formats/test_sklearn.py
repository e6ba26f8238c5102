from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from components.datasets.formats.sklearn import plugin
from components.errors import ConfigError


def test_digits_are_the_pixels_that_scikit_learn_ships() -> None:
    from sklearn.datasets import load_digits

    images = list(plugin.images("sklearn:digits"))
    assert len(images) == plugin.count("sklearn:digits") == len({image.image_id for image in images}) == 1797
    digits = load_digits()
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(image.content))) for image in images])
    np.testing.assert_array_equal(np.rint(decoded / (255 / 16)), digits.images)
    assert decoded.max() == 255
    assert [image.row["label"] for image in images] == [str(label) for label in digits.target]
    bold = np.array([image.row["stroke"] == "bold" for image in images])
    assert 0.4 < bold.mean() < 0.6
    assert decoded[bold].mean() > decoded[~bold].mean()


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    assert plugin.matches("sklearn:iris")
    assert not plugin.matches("digits")
    with pytest.raises(ConfigError, match=r"unknown scikit-learn dataset 'iris'.*digits"):
        plugin.classes("sklearn:iris")
