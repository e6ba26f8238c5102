import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from components.errors import DataError
from components.evaluation.metrics.classification import plugin

CLASSES = ["ant", "bee", "cat", "dog", "elk", "fox"]


@pytest.fixture
def evaluator():
    return plugin(CLASSES)


@pytest.fixture
def case(evaluator):
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 6, 500)
    probabilities = generator.dirichlet(np.full(6, 0.5), 500)
    probabilities[np.arange(250), labels[:250]] += 1
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities, evaluator.statistics(probabilities, labels)


def test_metrics_are_those_of_scikit_learn(evaluator, case):
    labels, probabilities, statistics = case
    predicted = probabilities.argmax(axis=1)
    scores = evaluator.score(statistics)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    assert scores["accuracy"] == metrics.accuracy_score(labels, predicted)
    assert scores["top3_accuracy"] == metrics.top_k_accuracy_score(labels, probabilities, k=3)
    assert scores["top5_accuracy"] == metrics.top_k_accuracy_score(labels, probabilities, k=5)
    assert [scores["precision"], scores["recall"], scores["f1"]] == pytest.approx([precision, recall, f1])
    assert scores["nll"] == pytest.approx(metrics.log_loss(labels, probabilities))


def test_per_class_and_confusion_are_those_of_scikit_learn(evaluator, case):
    labels, probabilities, statistics = case
    predicted = probabilities.argmax(axis=1)
    table = evaluator.per_class(statistics)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(labels, predicted, zero_division=0)
    assert list(table["class"]) == CLASSES
    assert list(table.columns[:3]) == ["class", "support", "recall"]
    np.testing.assert_allclose(table[["precision", "recall", "f1", "support"]], np.stack([precision, recall, f1, support], axis=1))
    np.testing.assert_array_equal(evaluator.confusion_matrix(statistics), metrics.confusion_matrix(labels, predicted))


def test_confusion_names_label_and_prediction_of_each_image(evaluator):
    table = evaluator.confusion(evaluator.statistics(np.eye(6)[[0, 5]], [0, 1]))
    assert table.to_dict("list") == {"label": ["ant", "bee"], "predicted": ["ant", "fox"]}


def test_mistakes_are_named_the_surest_first(evaluator):
    probabilities = [[0.6, 0.4, 0, 0, 0, 0], [0.9, 0.1, 0, 0, 0, 0], [0.1, 0.9, 0, 0, 0, 0]]
    assert evaluator.mistakes(evaluator.statistics(probabilities, [1, 1, 1])) == [(1, "bee taken for ant (90%)"), (0, "bee taken for ant (60%)")]


def test_the_baseline_is_the_majority_class_of_the_training_images(evaluator):
    prediction = evaluator.baseline([2, 2, 2, 0])
    assert prediction.tolist() == [0.25, 0, 0.75, 0, 0, 0]
    assert evaluator.score(evaluator.statistics([prediction] * 4, [2, 2, 1, 0]))["accuracy"] == 0.5


def test_calibration_error_of_a_model_that_is_too_sure_by_a_fifth():
    evaluator = plugin(["no", "yes"])
    probabilities = np.tile([0.2, 0.8], (100, 1))
    labels = np.repeat([1, 0], [60, 40])
    assert evaluator.score(evaluator.statistics(probabilities, labels))["calibration_error"] == pytest.approx(0.2)


def test_calibration_error_cancels_within_a_bin_but_not_between_bins():
    evaluator = plugin(["no", "yes"])
    statistics = evaluator.statistics([[0.05, 0.95]] * 10 + [[0.45, 0.55]] * 10, [1] * 10 + [0] * 10)
    assert evaluator.score(statistics)["calibration_error"] == pytest.approx((0.05 + 0.55) / 2)


def test_weights_count_images_that_often(evaluator, case):
    _, _, statistics = case
    weights = np.random.default_rng(0).integers(0, 3, len(statistics)).astype(float)
    repeated = np.repeat(statistics, weights.astype(int), axis=0)
    assert evaluator.score(statistics, weights) == pytest.approx(evaluator.score(repeated))


def test_a_class_without_images_counts_in_no_average(evaluator):
    statistics = evaluator.statistics(np.eye(6)[[0, 1, 1, 2]], [0, 1, 1, 1])
    scores = evaluator.score(statistics)
    assert scores["recall"] == pytest.approx((1 + 2 / 3) / 2)
    table = evaluator.per_class(statistics).set_index("class")
    assert np.isnan(table.loc["fox", "recall"])
    assert table.loc["fox", "support"] == 0


def test_equal_probabilities_go_to_the_first_class(evaluator):
    statistics = evaluator.statistics(np.full((2, 6), 1 / 6), [0, 5])
    assert evaluator.score(statistics)["accuracy"] == 0.5
    assert evaluator.score(statistics)["top5_accuracy"] == 0.5


def test_top_k_stands_only_where_there_are_more_classes():
    two = plugin(["no", "yes"])
    assert not [name for name in two.score(two.statistics([[0.5, 0.5]], [0])) if name.startswith("top")]


def test_targets_are_class_indices(evaluator):
    assert evaluator.targets(pd.DataFrame({"label": ["fox", "ant"]})).tolist() == [5, 0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param({"label": ["ant", "yak"]}, "yak", id="label-outside-the-classes"),
        pytest.param({"label": ["ant", None]}, "1 labels name no class", id="no-label"),
        pytest.param({"boxes": [1]}, "no column 'label'", id="no-column"),
    ],
)
def test_wrong_annotations_are_named(evaluator, rows, message):
    with pytest.raises(DataError, match=message):
        evaluator.targets(pd.DataFrame(rows))


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        pytest.param([[np.nan] * 6], "no probabilities; the first is number 0", id="nan"),
        pytest.param([[3.0, -1, 0, 0, 0, 0]], "no probabilities", id="logits"),
        pytest.param([[0.5, 0.5]], r"\(1, 2\), expected \(1, 6\)", id="classes-missing"),
        pytest.param([[1.0, 0, 0, 0, 0, 0]] * 2, r"\(2, 6\), expected \(1, 6\)", id="images-missing"),
    ],
)
def test_predictions_that_are_none_are_refused(evaluator, predictions, message):
    with pytest.raises(DataError, match=message):
        evaluator.statistics(predictions, [0])


def test_no_image_cannot_be_scored(evaluator):
    with pytest.raises(DataError, match="no image"):
        evaluator.score(np.empty((0, 5)))


def test_one_class_is_refused():
    with pytest.raises(DataError, match="found 1 class "):
        plugin(["only"])
