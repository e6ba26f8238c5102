import numpy as np

from components.explanation.pictures import explained, with_heat


def test_what_a_map_highlights_is_coloured_and_the_rest_is_not():
    heat = np.zeros((8, 8), np.float32)
    heat[2, 3] = 5
    picture = with_heat(np.full((8, 8, 3), 100, np.uint8), heat)
    factor = picture.shape[0] // 8
    coloured = np.ptp(picture.astype(int), axis=2)[::factor, ::factor] > 0
    assert np.argwhere(coloured).tolist() == [[2, 3]]


def test_an_explanation_shows_the_image_and_a_map_of_each_method(stripes, blobs):
    for known in (stripes, blobs):
        picture = explained(known.subject, known.pixels, known.first)
        height, width, channels = picture.shape
        assert channels == 3
        assert 3 <= width / height < 3.1
        heats = picture[:, -2 * height :].astype(int)
        assert (np.ptp(heats, axis=2) > 0).mean() > 0.05
