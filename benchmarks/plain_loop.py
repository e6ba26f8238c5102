"""What the training loop is held against: the loop that everyone writes first, on the same model and the same stored images."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def train(model: nn.Module, images_NHWC: np.ndarray, labels: np.ndarray, epochs: int, batch_size: int, lr: float) -> float:
    """Train in float32 and return the images per second of the last epoch.

    Args:
        model: images_NCHW in 0..1 → logits.
        images_NHWC: uint8 (N, H, W, C).
        labels: Class indices (N,).
        epochs: How often each image is seen.
        batch_size: Images in a batch.
        lr: Of SGD with Nesterov momentum.
    """
    images, targets = torch.from_numpy(np.array(images_NHWC)), torch.from_numpy(labels)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True)
    model.train()
    for _ in range(epochs):
        began = time.perf_counter()
        for index in torch.randperm(len(images)).split(batch_size):
            batch = images[index].permute(0, 3, 1, 2).float().contiguous() / 255
            loss = functional.cross_entropy(model(batch), targets[index])
            if not torch.isfinite(loss):
                raise RuntimeError("the loss is no number any more")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds = time.perf_counter() - began
    return len(images) / seconds
