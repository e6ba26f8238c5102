import numpy as np
import pytest

from components.errors import DataError
from components.evaluation.comparison import compare_paired
from components.evaluation.metrics.classification import plugin

EVALUATOR = plugin(["a", "b", "c", "d"])


def statistics_of(labels, wrong):
    """Statistics of a model that names the next class where `wrong`."""
    return EVALUATOR.statistics(np.eye(4)[(labels + wrong) % 4], labels)


def test_a_model_compared_with_itself_is_never_superior():
    labels = np.arange(400) % 4
    statistics = statistics_of(labels, np.arange(400) % 20 == 0)
    comparison = compare_paired(EVALUATOR, statistics, statistics)
    assert comparison.num_different == 0
    assert (comparison.gain.value, comparison.gain.low, comparison.gain.high) == (0, 0, 0)
    assert not comparison.superior(0.0)


@pytest.mark.parametrize(
    ("accuracy", "shared"),
    [
        pytest.param(0.97, 0.02, id="mostly-the-same-mistakes"),
        pytest.param(0.8, 0.1, id="many-mistakes"),
    ],
)
def test_an_equally_good_model_is_promoted_in_at_most_five_of_a_hundred_tries(accuracy, shared):
    """Over 3,000 tries it is 2 to 3 of 100: one end of a two-sided 95% interval."""
    generator = np.random.default_rng(1)
    labels = np.arange(360) % 4
    promoted = 0
    for seed in range(100):
        both = generator.random(360) < shared
        wrong_a, wrong_b = (both | (generator.random(360) < 1 - accuracy - shared) for _ in range(2))
        comparison = compare_paired(EVALUATOR, statistics_of(labels, wrong_a), statistics_of(labels, wrong_b), num_resamples=400, seed=seed)
        promoted += comparison.superior(0.0)
    assert promoted <= 5


def test_a_better_model_is_superior():
    labels = np.arange(400) % 4
    champion = statistics_of(labels, np.arange(400) % 10 == 0)
    challenger = statistics_of(labels, np.arange(400) % 40 == 0)
    comparison = compare_paired(EVALUATOR, champion, challenger)
    assert comparison.gain.value == pytest.approx(0.075)
    assert comparison.superior(0.0)
    assert not comparison.superior(0.08)
    assert (comparison.a.value, comparison.b.value) == (0.9, 0.975)


def test_a_gain_on_one_group_is_no_gain_beyond_chance():
    """Ten images of one patient that were wrong are right: by images that is much, by patients it may be chance."""
    labels = np.arange(200) % 4
    champion, challenger = statistics_of(labels, np.arange(200) < 10), statistics_of(labels, np.zeros(200, dtype=int))
    assert compare_paired(EVALUATOR, champion, challenger, 200).superior(0.0)
    groups = [f"patient {number // 10}" for number in range(200)]
    assert not compare_paired(EVALUATOR, champion, challenger, 200, groups=groups).superior(0.0)


def test_pairing_makes_a_small_gain_visible():
    """The same gain on images that both find hard: intervals of the two accuracies overlap, that of the difference is above 0."""
    labels = np.arange(1000) % 4
    champion = statistics_of(labels, np.arange(1000) < 300)
    challenger = statistics_of(labels, np.arange(1000) < 285)
    comparison = compare_paired(EVALUATOR, champion, challenger)
    assert comparison.a.high > comparison.b.low
    assert comparison.superior(0.0)


def test_the_class_that_falls_is_named():
    labels = np.arange(400) % 4
    champion = statistics_of(labels, (labels == 0) & (np.arange(400) < 200))
    challenger = statistics_of(labels, (labels == 3) & (np.arange(400) < 40))
    comparison = compare_paired(EVALUATOR, champion, challenger, num_resamples=10)
    assert comparison.worst_class == "d"
    assert comparison.worst_class_drop == pytest.approx(0.1)
    assert comparison.class_drops["a"] == pytest.approx(-0.5)


def test_a_class_without_images_cannot_fall():
    labels = np.zeros(40, dtype=int)
    comparison = compare_paired(EVALUATOR, statistics_of(labels, labels == 1), statistics_of(labels, labels == 0), num_resamples=10)
    assert comparison.class_drops == {"a": 1.0}


def test_different_images_are_no_pair():
    with pytest.raises(DataError, match="10 and 12 images"):
        compare_paired(EVALUATOR, statistics_of(np.zeros(10, dtype=int), 0), statistics_of(np.zeros(12, dtype=int), 0))
