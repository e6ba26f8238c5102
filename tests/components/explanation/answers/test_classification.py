import numpy as np
import pytest
import torch

from components.explanation.answers.classification import plugin


def test_the_answer_is_the_likeliest_class():
    [answer] = plugin.of(np.array([0.2, 0.5, 0.3]), ["a", "b", "c"])
    assert answer.label == 1


def test_scores_of_the_classes_are_probabilities_and_logits_go_on_where_these_are_full(stripes):
    images = torch.cat([stripes.image, stripes.image * 0 + 0.5])
    first, second = (plugin.support(stripes.subject.model, images, answer) for answer in (stripes.first, stripes.second))
    assert (first.scores + second.scores).detach().numpy() == pytest.approx([1, 1])
    assert first.scores[1].item() == pytest.approx(0.5)
    assert first.logits[0] == -second.logits[0]
