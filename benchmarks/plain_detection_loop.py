"""What the training of a YOLO is held against: the loop that everyone writes first, image by image in its loss, on the same network and images."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import box_iou, complete_box_iou_loss

from components.networks.detection.points import Raw, decode, points

Objects = list[tuple[torch.Tensor, torch.Tensor]]  # of each image boxes_xyxy (K, 4) and labels (K,)


def loss(raw: Raw, objects: Objects, size: int) -> torch.Tensor:
    """Return task-aligned learning's loss (arXiv:2108.07755) of a batch."""
    places = points(size, size)
    centres, strides = places[:, :2], places[:, 2:]
    named, boxed, total = torch.zeros(()), torch.zeros(()), torch.zeros(())
    for distances, logits, (boxes, labels) in zip(*raw, objects, strict=True):
        found, wanted = decode(distances, places), torch.zeros_like(logits)
        with torch.no_grad():
            low, high = boxes[:, None, :2], boxes[:, None, 2:]
            inside = ((centres > low) & (centres < high)).all(2)
            near = ((centres - (low + high) / 2).abs() <= strides / 2).all(2)
            inside = torch.where(inside.any(1, keepdim=True), inside, near)
            overlap = box_iou(boxes, found)
            alignment = (logits.sigmoid().T[labels] * overlap**6 + 1e-9) * inside
            best = alignment.topk(13, dim=1)
            chosen = torch.zeros_like(inside).scatter_(1, best.indices, best.values > 0)
            owner, taught = torch.where(chosen, overlap + 1, 0.0).argmax(0), chosen.any(0)
            chosen &= functional.one_hot(owner, len(boxes)).T.bool()
            best_of_object = (alignment * chosen).amax(1, keepdim=True).clamp(min=1e-9)
            strength = (alignment * chosen / best_of_object * (overlap * chosen).amax(1, keepdim=True)).amax(0)[taught]
            wanted[taught, labels[owner[taught]]] = strength
        named = named + functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        boxed = boxed + (complete_box_iou_loss(found[taught], boxes[owner[taught]]) * strength).sum()
        total = total + strength.sum()
    return (named + 2.5 * boxed) / total.clamp(min=1)


def train(model: nn.Module, images_NHWC: np.ndarray, objects: Objects, epochs: int, batch_size: int, lr: float) -> float:
    """Train in float32 on uint8 images (N, H, W, C) and return the images per second of the last epoch."""
    images, optimizer = torch.from_numpy(np.array(images_NHWC)), torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    model.train()
    for _ in range(epochs):
        began = time.perf_counter()
        for index in torch.split(torch.randperm(len(images)), batch_size):
            batch = images[index].permute(0, 3, 1, 2).float().contiguous() / 255
            value = loss(model(batch), [objects[i] for i in index], batch.shape[2])
            if not torch.isfinite(value):
                raise RuntimeError("the loss is no number any more")
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()
        seconds = time.perf_counter() - began
    return len(images) / seconds
