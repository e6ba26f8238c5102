from __future__ import annotations

import pytest
import torch

from components.networks.detection import assignment
from components.networks.detection.assignment import assign, loss
from components.networks.detection.objects import Objects
from components.networks.detection.points import Raw, points
from components.networks.detection.yolo import YOLO

SIZE = (64, 64)
WEIGHTS = YOLO.loss_weights


def _objects(boxes: list[list[float]], labels: list[int], padding: int = 0) -> Objects:
    present = torch.tensor([[True] * len(boxes) + [False] * padding])
    return Objects(torch.tensor([boxes + [[0.0] * 4] * padding]), torch.tensor([labels + [0] * padding]), present)


def _guess(objects: Objects, num_classes: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores and boxes of a network that sees at every point the first object a little, and the points."""
    grid = points(*SIZE)
    boxes = objects.boxes_xyxy[:, :1].expand(-1, len(grid), -1).clone()
    return torch.full((1, len(grid), num_classes), 0.1), boxes, grid


def test_only_points_inside_a_box_are_taught_it_and_at_most_thirteen() -> None:
    objects = _objects([[4.0, 4, 60, 60]], [1])
    scores, boxes, grid = _guess(objects)
    assigned = assign(scores, boxes, grid, objects)
    assert assigned.taught.sum() == 13
    chosen = grid[assigned.taught[0], :2]
    assert ((chosen > 4) & (chosen < 60)).all()
    assert (assigned.scores[0, :, 0] == 0).all()
    assert assigned.scores[0, :, 1].max() > 0.99, "what is boxed perfectly shall be named surely"


def test_a_box_between_the_points_is_not_lost() -> None:
    objects = _objects([[9.0, 9, 11, 11]], [0])
    assert assign(*_guess(objects), objects).taught.any()


def test_a_point_that_two_objects_want_takes_the_one_it_overlaps_most() -> None:
    objects = _objects([[8.0, 8, 56, 56], [20.0, 20, 44, 44]], [0, 1])
    scores, boxes, grid = _guess(objects)
    boxes[:] = objects.boxes_xyxy[:, 1:]
    assigned = assign(scores, boxes, grid, objects)
    both = assigned.taught[0] & ((grid[:, :2] > 20) & (grid[:, :2] < 44)).all(dim=1)
    assert (assigned.boxes_xyxy[0, both] == objects.boxes_xyxy[0, 1]).all()


def test_padding_teaches_nothing() -> None:
    alone, padded = _objects([[4.0, 4, 60, 60]], [1]), _objects([[4.0, 4, 60, 60]], [1], padding=3)
    for one, other in zip(assign(*_guess(alone), alone), assign(*_guess(padded), padded), strict=True):
        torch.testing.assert_close(one, other)


def test_many_objects_are_taught_an_image_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = torch.Generator().manual_seed(0)
    low = torch.rand(3, 40, 2, generator=draws) * 40
    boxes = torch.cat([low, low + 4 + torch.rand(3, 40, 2, generator=draws) * 20], dim=2)
    present = torch.arange(40)[None] < torch.tensor([[40], [0], [7]])
    objects = Objects(boxes, torch.randint(0, 2, (3, 40), generator=draws), present)
    grid = points(*SIZE)
    guess = torch.rand(3, len(grid), 2, generator=draws), boxes.repeat(1, 10, 1)[:, : len(grid)] + 2, grid
    at_once = assign(*guess, objects)
    assert at_once.taught.any(dim=1).tolist() == [True, False, True]
    monkeypatch.setattr(assignment, "_MOST_PAIRS", 1000)
    one_by_one = assign(*guess, objects)
    assert torch.equal(one_by_one.taught, at_once.taught)
    assert torch.equal(one_by_one.scores, at_once.scores)
    assert torch.equal(one_by_one.boxes_xyxy[at_once.taught], at_once.boxes_xyxy[at_once.taught])


def test_a_batch_without_objects_teaches_that_there_are_none() -> None:
    model = YOLO(2, 1)
    nothing = Objects(torch.empty(2, 0, 4), torch.empty(2, 0, dtype=torch.int64), torch.empty(2, 0, dtype=torch.bool))
    found = loss(model(torch.rand(2, 1, *SIZE)), nothing, points(*SIZE), WEIGHTS)
    found.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(found)
    raw = model(torch.rand(2, 1, *SIZE))
    assert loss(Raw(raw.distances, raw.logits - 10), nothing, points(*SIZE), WEIGHTS) < found


def test_the_truth_costs_less_than_anything_near_it() -> None:
    objects = _objects([[8.0, 8, 40, 40]], [1])
    centres, strides = points(*SIZE)[:, :2], points(*SIZE)[:, 2:]
    low, high = objects.boxes_xyxy[0, 0, :2], objects.boxes_xyxy[0, 0, 2:]
    distances = torch.cat([centres - low, high - centres], dim=1).clamp(min=0)[None] / strides
    logits = torch.full((1, len(centres), 2), -8.0)
    inside = ((centres > low) & (centres < high)).all(dim=1)
    logits[0, inside, 1] = 8.0
    right, *wrong = (
        loss(raw, objects, points(*SIZE), WEIGHTS) for raw in (Raw(distances, logits), Raw(distances * 1.2, logits), Raw(distances, logits.flip(2)))
    )
    assert right < min(wrong)
