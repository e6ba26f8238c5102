from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn

from components.compression._statistics import measure_statistics
from components.datasets.prepared import PreparedSplit


def _images(count: int) -> PreparedSplit:
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return PreparedSplit(images, pd.DataFrame({"image_id": [str(number) for number in range(count)]}), np.arange(count))


def test_norms_know_the_images_whatever_they_knew_before() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.9), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, momentum=0.01))
    weights = [parameter.clone() for parameter in network.parameters()]
    network[1].running_mean.fill_(99.0)
    train = _images(37)  # no multiple of a batch
    measure_statistics(network, train)
    images = torch.from_numpy(train.images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        features = network[0](images)
    torch.testing.assert_close(network[1].running_mean, features.mean((0, 2, 3)), rtol=0, atol=2e-3)
    torch.testing.assert_close(network[1].running_var, features.var((0, 2, 3)), rtol=0.05, atol=0)
    with torch.inference_mode():
        later = network[3](network[1](features))  # dropout was off
    torch.testing.assert_close(network[4].running_mean, later.mean((0, 2, 3)), rtol=0, atol=0.1)
    assert [network[1].momentum, network[4].momentum] == [0.1, 0.01]
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(parameter, before) for parameter, before in zip(network.parameters(), weights, strict=True))


def test_without_norms_or_images_nothing_happens() -> None:
    measure_statistics(nn.Conv2d(3, 4, 1), _images(8))
    norm = nn.BatchNorm2d(3)
    norm.running_mean.fill_(5.0)
    measure_statistics(norm, _images(1))
    assert norm.running_mean.tolist() == [5.0] * 3
