from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from components.datasets.checks import _ridge
from components.datasets.checks._ridge import out_of_fold


@pytest.mark.parametrize("num_features", [30, 400])
def test_the_probabilities_are_those_of_models_of_the_other_folds(num_features: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More images than features and fewer: the same as a ridge regression fitted anew for each fold."""
    rng = np.random.default_rng(0)
    labels, fold = np.arange(300) % 3, rng.permutation(300) % 4
    described = (rng.normal(2, 1, (300, num_features)) + 0.2 * (np.arange(num_features) % 3 == labels[:, None])).astype(np.float16)
    monkeypatch.setattr(_ridge, "PENALTIES", (0.1,))
    monkeypatch.setattr(_ridge, "_ROWS", 64)
    found = out_of_fold(described, labels, fold)
    scaled = described.astype(np.float64)
    scaled = (scaled - scaled.mean(0)) / scaled.std(0)
    targets = np.eye(3)[labels] - np.eye(3)[labels].mean(0)
    scores = np.empty((300, 3))
    for number in range(4):
        model = Ridge(alpha=0.1 * 300, fit_intercept=False).fit(scaled[fold != number], targets[fold != number])
        scores[fold == number] = model.predict(scaled[fold == number])
    found_logs = np.log(found.probabilities)
    ours, expected = found_logs - found_logs.mean(1, keepdims=True), scores - scores.mean(1, keepdims=True)
    sharpness = (ours * expected).sum() / (expected**2).sum()
    np.testing.assert_allclose(ours, sharpness * expected, atol=1e-3 * sharpness)
    assert found.loss == pytest.approx(-found_logs[np.arange(300), labels].mean())
    for other in (0.8, 1.25):
        logs = other * ours - np.log(np.exp(other * ours).sum(1, keepdims=True))
        assert -logs[np.arange(300), labels].mean() > found.loss, "no other temperature makes the labels likelier"


def test_labels_by_chance_stay_unlikely() -> None:
    rng = np.random.default_rng(0)
    found = out_of_fold(rng.normal(size=(400, 600)).astype(np.float16), rng.integers(0, 4, 400), np.arange(400) % 5)
    assert found.loss > np.log(4) - 0.05
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
