import numpy as np
import pytest
import torch

from components.explanation.subject import Subject, can_be_explained
from components.protocols import plugin
from tests.components.explanation.conftest import spec_of


@pytest.fixture
def digits():
    spec = spec_of("classification", "resnet9", ["a", "b", "c"], width=4)
    return Subject.of(plugin("components.tasks", "task", "classification").build_model(spec), spec)


def test_blank_is_the_mean_of_the_training_images(digits):
    assert digits.fill.shape == (1, 1, 1, 1)
    assert digits.fill.item() == 0.5


def test_random_weights_are_others_and_the_same_each_time(digits):
    state = torch.random.get_rng_state()
    one, again = digits.untrained(0), digits.untrained(0)
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [each.model.state_dict()["network.head.weight"] for each in (digits, one, again)]
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])


def test_scores_are_the_same_in_one_go_or_several(digits, monkeypatch):
    images = torch.rand(9, 1, 32, 32)
    [answer] = digits.answers.of(np.array([0.1, 0.7, 0.2]), ["a", "b", "c"])
    whole = digits.scores(images, answer)
    monkeypatch.setattr("components.explanation.subject._PIXELS_AT_ONCE_ON_CPU", 4 * 32 * 32)
    assert digits.at_once(images) == 4
    assert digits.scores(images, answer) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize(("side", "count"), [(32, 64), (128, 8), (512, 1)])
def test_on_a_processor_few_pixels_go_through_at_once(digits, side, count):
    assert digits.at_once(torch.zeros(1, 1, side, side)) == count


def test_a_task_without_answers_cannot_be_explained():
    assert can_be_explained("classification")
    assert not can_be_explained("dots")
