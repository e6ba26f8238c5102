import numpy as np
import pytest

from components.explanation.gradcam import gradcam
from components.explanation.sanity import Case, fall, measure, rank_correlation, region
from components.progress import bar


def measured(known, method, num=24):
    """Measure a method on images that show one thing at places of their own."""
    draws = np.random.default_rng(1)
    moved = [np.roll(known.pixels, tuple(draws.integers(0, 32, 2)), axis=(0, 1)) for _ in range(num)]
    cases = [Case(known.subject.image(pixels), known.first) for pixels in moved]
    with bar("test", num) as progress:
        return measure(known.subject, cases, method, 0.2, 0, progress)


def test_maps_that_show_what_matters_say_more_than_chance(stripes):
    found = measured(stripes, gradcam)
    assert found.verdict == "more than chance"
    assert found.gain.value == pytest.approx(found.random - found.highlighted)
    assert found.highlighted < found.random < found.score
    assert found.gain.low > 0.1


def test_random_maps_say_no_more_than_chance(stripes):
    draws = np.random.default_rng(2)
    found = measured(stripes, lambda subject, image, answer: np.kron(draws.random((4, 4)), np.ones((8, 8))).astype(np.float32), num=60)
    assert found.verdict == "no more than chance"
    assert abs(found.gain.value) < 0.06
    assert abs(found.untrained) < 0.3


def test_maps_that_show_the_opposite_say_less_than_chance(stripes):
    assert measured(stripes, lambda subject, image, answer: gradcam(subject, image, stripes.second)).verdict == "less than chance"


def test_maps_that_do_not_depend_on_what_was_learnt_are_told(stripes):
    assert measured(stripes, lambda subject, image, answer: image[0, 0].numpy(), num=3).untrained == pytest.approx(1.0)


def test_a_region_is_what_is_highlighted_most_and_never_what_is_not_highlighted():
    heat = np.zeros((4, 5), np.float32)
    heat[1, 1:4] = [3, 1, 2]
    assert np.argwhere(region(heat, 0.1)).tolist() == [[1, 1], [1, 3]]
    assert np.argwhere(region(heat, 0.5)).tolist() == [[1, 1], [1, 2], [1, 3]]


def test_blanking_nothing_costs_nothing_and_blanking_all_costs_all(stripes):
    case = Case(stripes.subject.image(np.roll(stripes.pixels, 1)), stripes.first)
    none, everything = (fall(stripes.subject, case, np.full((32, 32), value), np.random.default_rng(0)) for value in (False, True))
    assert none.score == none.highlighted == pytest.approx(none.random)
    assert everything.highlighted == pytest.approx(0.5)  # nothing to see: as likely as the other class


def test_rank_correlation_of_a_map_that_says_nothing_is_none():
    ramp = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert rank_correlation(ramp, ramp**2) == pytest.approx(1.0)
    assert rank_correlation(ramp, -ramp) == pytest.approx(-1.0)
    assert rank_correlation(ramp, np.zeros((4, 4), np.float32)) == 0.0
