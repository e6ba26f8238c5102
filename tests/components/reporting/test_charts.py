import xml.etree.ElementTree as ET

import pytest

from components.records import Interval
from components.reporting.charts import Line, interval_chart, line_chart, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        pytest.param(0.88, 1.0, [0.9, 0.95, 1.0], id="accuracies"),
        pytest.param(-0.01, 0.02, [-0.01, 0.0, 0.01, 0.02], id="gains"),
        pytest.param(1, 14, [5, 10], id="epochs"),
    ],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert ticks(low, high, 3) == pytest.approx(expected)


def test_intervals_lie_in_order_on_one_axis():
    chart = ET.fromstring(
        interval_chart(
            [("blood-cells-2025/12", "a", Interval(value=0.9, low=0.88, high=0.92)), ("<b>", "b", Interval(value=0.95, low=0.94, high=0.96))]
        )
    )
    left, right = (float(dot.get("cx")) for dot in chart.iter("circle"))
    assert left < right
    ends = [(float(line.get("x1")), float(line.get("x2"))) for line in chart.iter("line") if line.get("class").startswith("whisker")]
    assert ends[0][0] > 6 * len("blood-cells-2025/12"), "the name does not run into its interval"
    assert ends[0][0] < left < ends[0][1] < ends[1][0] < right < ends[1][1]
    assert "<b>" in [text.text for text in chart.iter("text")]


def test_an_interval_without_width_can_be_drawn():
    assert "circle" in interval_chart([("gain", "b", Interval(value=0, low=0, high=0))], zero=0.0)


def test_differences_are_in_points_and_have_a_sign():
    chart = ET.fromstring(interval_chart([("gain", "b", Interval(value=0.02, low=-0.01, high=0.04))], zero=0.0))
    assert {"+2", "+4"} < {text.text for text in chart.iter("text")}


def test_a_curve_of_one_epoch_is_a_dot():
    chart = ET.fromstring(line_chart([Line("loss", "a", [(1, 0.5)])], percent=False))
    assert len(list(chart.iter("circle"))) == 1
    assert not list(chart.iter("polyline"))
    scale = [text.text for text in chart.iter("text") if text.get("text-anchor") == "end"]
    assert len(scale) > 1
    assert len(scale) == len(set(scale))


def test_a_falling_loss_falls_on_the_page():
    chart = ET.fromstring(line_chart([Line("loss", "a", [(1, 2.0), (2, 1.0), (3, 0.5)])], percent=False))
    heights = [float(point.split(",")[1]) for point in next(chart.iter("polyline")).get("points").split()]
    assert heights == sorted(heights)
