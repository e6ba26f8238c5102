from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from components.datasets.formats.sklearn import digits, plugin
from components.datasets.sources import open_source
from components.errors import ConfigError


def test_digits_are_the_pixels_that_scikit_learn_ships() -> None:
    from sklearn.datasets import load_digits

    images = list(digits())
    assert len(images) == plugin.read(open_source("sklearn:digits"), None).total == len({image.image_id for image in images}) == 1797
    found = load_digits()
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(image.content))) for image in images])
    np.testing.assert_array_equal(np.rint(decoded / (255 / 16)), found.images)
    assert decoded.max() == 255
    assert [image.row["label"] for image in images] == [str(label) for label in found.target]
    bold = np.array([image.row["stroke"] == "bold" for image in images])
    assert 0.4 < bold.mean() < 0.6
    assert decoded[bold].mean() > decoded[~bold].mean()


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    assert plugin.matches(open_source("sklearn:iris"))
    with pytest.raises(ConfigError, match=r"unknown scikit-learn dataset 'iris'.*digits"):
        plugin.read(open_source("sklearn:iris"), None)
