from __future__ import annotations

import pytest

from components.config import section_of
from components.errors import ConfigError
from components.steps.train import TrainConfig
from components.training.options import FitOptions
from components.training.schedules import lr_factor


def factors(**options: object) -> list[float]:
    fit_options = FitOptions.model_validate({"epochs": 10} | options)
    return [lr_factor(fit_options, step, 10) for step in range(100)]


def test_constant() -> None:
    assert set(factors(schedule="constant")) == {1.0}


def test_cosine_falls_from_one_to_zero_half_way_at_a_half() -> None:
    values = factors(schedule="cosine")
    assert values[0] == 1
    assert values == sorted(values, reverse=True)
    assert values[50] == pytest.approx(0.5)
    assert values[-1] < 0.001


def test_step_drops_at_its_epochs() -> None:
    values = factors(schedule="step", step_epochs=4, step_factor=0.1)
    assert [values[step] for step in (0, 39, 40, 79, 80)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize(("warmup", "peak"), [(0.0, 30), (2.0, 20)])
def test_onecycle_rises_to_its_peak_and_falls_to_almost_nothing(warmup: float, peak: int) -> None:
    values = factors(schedule="onecycle", warmup_epochs=warmup)
    assert values[0] == pytest.approx(1 / 25)
    assert max(values) == values[peak] == 1
    assert values[-1] < 0.002


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_warmup_is_linear(schedule: str) -> None:
    values = factors(schedule=schedule, warmup_epochs=1.0)
    assert values[:3] == pytest.approx([1 / 11, 2 / 11, 3 / 11])
    assert values[10] == 1


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("optimizer", "sdg", "unknown optimizer 'sdg'. Did you mean 'sgd'"),
        ("schedule", "cosin", "unknown schedule 'cosin'. Did you mean 'cosine'"),
        ("warmup_epochs", 20.0, "leaves nothing of 10 epochs"),
        ("device", "gpu", "train.device: found 'gpu'"),
    ],
)
def test_wrong_options_are_named(key: str, value: object, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        section_of({"train": {key: value}}, TrainConfig)
    assert text in str(caught.value)


def test_switches_are_words_or_booleans() -> None:
    assert section_of({"train": {"compile": False, "channels_last": "on"}}, TrainConfig).compile == "off"
