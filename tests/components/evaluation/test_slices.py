import numpy as np
import pandas as pd
import pytest

from components.evaluation.metrics.classification import plugin
from components.evaluation.slices import slice_labels, slice_table

EVALUATOR = plugin(["no", "yes"])


@pytest.fixture
def case():
    """120 images; the model is wrong on every second image of camera B."""
    cameras = np.array(["A", "B", "C"])[np.arange(120) % 3]
    wrong = (cameras == "B") & (np.arange(120) % 2 == 0)
    statistics = EVALUATOR.statistics(np.eye(2)[(~wrong).astype(int)], np.ones(120, dtype=int))
    rows = pd.DataFrame({"camera": cameras, "exposure": np.linspace(0, 1, 120), "note": [f"n{i}" for i in range(120)], "site": "Bonn"})
    return statistics, rows


def test_the_worst_slice_stands_first(case):
    statistics, rows = case
    table = slice_table(EVALUATOR, statistics, rows, ["camera"], num_resamples=200)
    assert list(table["value"]) == ["B", "A", "C"]
    worst = table.iloc[0]
    assert (worst["images"], worst["metric"]) == (40, 0.5)
    assert worst["low"] < 0.5 < worst["high"]


def test_many_numbers_are_cut_into_quarters(case):
    statistics, rows = case
    table = slice_table(EVALUATOR, statistics, rows, ["exposure"], num_resamples=10)
    assert list(table["images"]) == [30] * 4
    assert sorted(table["value"]) == ["0 to 0.25", "0.25 to 0.5", "0.5 to 0.75", "0.75 to 1"]


def test_columns_that_make_no_slices_are_left_out(case):
    statistics, rows = case
    assert slice_table(EVALUATOR, statistics, rows, ["note", "site"], num_resamples=10).empty


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([1.0, 2.0, None, 2.0], ["1", "2", "(none)", "2"], id="few-numbers-and-a-gap"),
        pytest.param([1000001.0, 1000002.0, None], ["1000001", "1000002", "(none)"], id="long-numbers-and-a-gap"),
        pytest.param([True, False], ["True", "False"], id="truth-values"),
        pytest.param(["x", None], ["x", "(none)"], id="text-and-a-gap"),
    ],
)
def test_labels_of_slices(values, expected):
    assert slice_labels(pd.Series(values)).tolist() == expected


def test_quarters_that_differ_in_their_last_digits_stay_apart():
    labels = slice_labels(pd.Series(np.arange(20240101, 20240141)))
    assert labels.nunique() == 4
    assert labels.iloc[0] == "20240101 to 20240110.75"


def test_a_slice_knows_the_groups_of_its_images(case):
    statistics, rows = case
    together = rows.assign(group=rows["exposure"].map(lambda value: f"patient {value:.1f}"))
    apart, drawn = (slice_table(EVALUATOR, statistics, each, ["camera"], num_resamples=200).iloc[0] for each in (rows, together))
    assert (apart["metric"], drawn["metric"]) == (0.5, 0.5)
    assert (apart["low"], apart["high"]) != (drawn["low"], drawn["high"])


def test_quarters_of_a_column_with_gaps():
    labels = slice_labels(pd.Series([*np.arange(40.0), None]))
    assert labels.iloc[-1] == "(none)"
    assert labels.nunique() == 5
