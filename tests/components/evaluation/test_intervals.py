import numpy as np

from components.datasets.annotations import Truth
from components.evaluation.intervals import bootstrap, resample_weights
from components.evaluation.metrics.classification import plugin
from components.evaluation.metrics.detection import plugin as detection_evaluator
from components.serving.detections import no_detections

EVALUATOR = plugin(["no", "yes"])


def statistics_of(num_correct, num_images):
    labels = np.ones(num_images, dtype=int)
    probabilities = np.tile([0.1, 0.9], (num_images, 1))
    probabilities[num_correct:] = [0.9, 0.1]
    return EVALUATOR.statistics(probabilities, labels)


def test_interval_is_that_of_the_binomial():
    interval = bootstrap(EVALUATOR, statistics_of(320, 400), num_resamples=2000)["accuracy"]
    half = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert interval.value == 0.8
    np.testing.assert_allclose([interval.low, interval.high], [0.8 - half, 0.8 + half], atol=0.006)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(1)
    held = 0
    for seed in range(100):
        interval = bootstrap(EVALUATOR, statistics_of(generator.binomial(300, 0.7), 300), num_resamples=200, seed=seed)["accuracy"]
        held += interval.low <= 0.7 <= interval.high
    assert 88 <= held <= 100


def test_same_seed_same_intervals():
    statistics = statistics_of(70, 100)
    assert bootstrap(EVALUATOR, statistics, 50, seed=4) == bootstrap(EVALUATOR, statistics, 50, seed=4)
    assert bootstrap(EVALUATOR, statistics, 50, seed=4) != bootstrap(EVALUATOR, statistics, 50, seed=5)


def test_each_resample_draws_as_many_images_as_there_are():
    assert {weights.sum() for weights in resample_weights(37, 20, seed=0)} == {37.0}


def test_images_of_a_group_say_less_than_as_many_others():
    """Ten groups of twenty, eight all right and two all wrong: ten finds, not two hundred."""
    groups = [f"patient {number // 20}" for number in range(200)]
    alone, together = (bootstrap(EVALUATOR, statistics_of(160, 200), 1000, groups=each)["accuracy"] for each in (None, groups))
    assert alone.value == together.value == 0.8
    np.testing.assert_allclose([alone.low, alone.high], [0.745, 0.855], atol=0.015)
    assert (together.low, together.high) == (0.5, 1.0)


def test_an_image_without_a_group_is_one_by_itself():
    drawn = [list(resample_weights(6, 5, 0, groups)) for groups in (None, [None] * 6, list("abcdef"), ["a", None, "b", float("nan"), "c", "d"])]
    for other in drawn[1:]:
        np.testing.assert_array_equal(drawn[0], other)
    mixed = np.array(list(resample_weights(6, 200, 0, ["a", None, "a", "a", None, "b"])))
    assert {0.0, 3.0, 6.0} <= set(mixed[:, [0, 2, 3]].sum(axis=1)) <= {0.0, 3.0, 6.0, 9.0, 12.0}
    assert mixed.any(axis=0).all()


def test_a_resample_that_misses_a_class_is_no_obstacle():
    statistics = EVALUATOR.statistics([[0.9, 0.1]] * 9 + [[0.2, 0.8]], [0] * 9 + [1])
    intervals = bootstrap(EVALUATOR, statistics, 200)
    assert all(np.isfinite([value.value, value.low, value.high]).all() for value in intervals.values())


def test_a_metric_that_is_not_defined_has_no_interval() -> None:
    evaluator = detection_evaluator(["cat"])
    nothing = Truth(np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.bool_))
    statistics = evaluator.statistics([no_detections()] * 3, [nothing] * 3)
    assert bootstrap(evaluator, statistics, 20) == {}
