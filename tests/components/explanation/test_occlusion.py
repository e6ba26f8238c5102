from components.explanation.occlusion import occlusion
from tests.components.explanation.conftest import LOWER_RIGHT, UPPER_LEFT, share


def test_a_class_is_lost_where_it_is_blanked(stripes):
    assert share(occlusion(stripes.subject, stripes.image, stripes.first), UPPER_LEFT) > 0.8
    assert share(occlusion(stripes.subject, stripes.image, stripes.second), LOWER_RIGHT) > 0.8


def test_a_box_is_lost_where_it_is_blanked(blobs):
    assert share(occlusion(blobs.subject, blobs.image, blobs.first), (slice(0, 20), slice(0, 20))) > 0.8
