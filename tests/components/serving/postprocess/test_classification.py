from __future__ import annotations

import numpy as np
import pytest
import torch

from components.serving.postprocess.classification import plugin


def test_softmax_is_torchs_own_even_for_large_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 300, (50, 7)).astype(np.float32)
    found = np.array(plugin.predictions({"logits": logits}))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, torch.from_numpy(logits).softmax(1).numpy(), atol=1e-6)


def test_columns_name_the_best_class() -> None:
    row = plugin.columns(np.array([0.2, 0.7, 0.1], np.float32), ["cat", "dog", "owl"])
    assert row["label"] == "dog"
    assert row["score"] == pytest.approx(0.7)
    assert list(row["probabilities"]) == ["cat", "dog", "owl"]


def test_difference_goes_by_class_name() -> None:
    first, other = np.array([0.2, 0.7, 0.1], np.float32), np.array([0.1, 0.3, 0.6], np.float32)
    assert plugin.difference(first, ["cat", "dog", "owl"], first[::-1], ["owl", "dog", "cat"]) == (0.0, True)
    assert plugin.difference(first, ["cat", "dog", "owl"], other, ["owl", "cat", "dog"]) == (pytest.approx(0.1), True)
    difference, same = plugin.difference(first, ["cat", "dog", "owl"], first, ["owl", "dog", "cat"])
    assert (difference, same) == (pytest.approx(0.1), True)
    assert plugin.difference(first, ["cat", "dog", "owl"], other, ["cat", "dog", "owl"])[1] is False
