from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.augmentation.mixing import Mixing, draw_mosaic, mosaic_masks
from components.networks.detection.objects import Objects, in_mosaic, mixed


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), height=st.integers(8, 40), width=st.integers(8, 40), probability=st.sampled_from([0.5, 1.0]))
def test_boxes_enclose_their_objects_in_each_part_of_a_mosaic_and_keep_their_labels(seed: int, height: int, width: int, probability: float) -> None:
    draws, num, each = torch.Generator().manual_seed(seed), 6, 3
    masks, boxes = torch.zeros(num, height, width, dtype=torch.int64), torch.zeros(num, each, 4)
    labels = torch.arange(1, num * each + 1).view(num, each)  # an object is told by its label
    for image in range(num):
        for place in range(each):
            x0, y0 = int(torch.randint(0, width - 3, (), generator=draws)), int(torch.randint(0, height - 3, (), generator=draws))
            x1, y1 = (int(torch.randint(low + 2, high + 1, (), generator=draws)) for low, high in ((x0, width), (y0, height)))
            boxes[image, place] = torch.tensor([x0, y0, x1, y1])
            masks[image, y0:y1, x0:x1] = labels[image, place]
    mosaic = draw_mosaic(num, height, width, probability, draws)
    assert mosaic is not None
    found, shown = in_mosaic(Objects(boxes, labels, torch.ones(num, each, dtype=torch.bool)), mosaic), mosaic_masks(masks, mosaic)
    assert int(found.present.sum(dim=1).max()) == found.labels.shape[1]  # no more padding than needed
    assert found.present.any(dim=1).all()
    for image, place in found.present.nonzero().tolist():
        x0, y0, x1, y1 = found.boxes_xyxy[image, place].tolist()
        middle = torch.tensor([(x0 + x1) / 2, (y0 + y1) / 2])
        part = int(((mosaic.low[image] <= middle) & (middle < mosaic.high[image])).all(dim=1).nonzero())
        (left, top), (right, bottom) = mosaic.low[image, part].long().tolist(), mosaic.high[image, part].long().tolist()
        assert left <= x0 < x1 <= right
        assert top <= y0 < y1 <= bottom
        label = int(found.labels[image, place])
        assert label in labels[mosaic.members[image, part]]
        rows, columns = (shown[image, top:bottom, left:right] == label).nonzero().T + 0.5
        if len(rows):
            assert x0 - 1e-3 <= columns.min() + left <= columns.max() + left <= x1 + 1e-3
            assert y0 - 1e-3 <= rows.min() + top <= rows.max() + top <= y1 + 1e-3


def test_blended_images_have_the_objects_of_both_and_those_that_hardly_show_are_dropped() -> None:
    boxes = torch.tensor([[[0.0, 0, 9, 9], [1, 1, 5, 5]], [[2, 2, 8, 8], [0, 0, 0, 0]], [[3, 3, 7, 7], [4, 4, 9, 9]]])
    objects = Objects(boxes, torch.tensor([[0, 1], [2, 0], [3, 4]]), torch.tensor([[True, True], [True, False], [True, True]]))
    both = mixed(objects, Mixing(torch.tensor([1, 2, 0]), torch.tensor([0.5, 0.1, 0.9]), None))
    assert [sorted(labels[present].tolist()) for labels, present in zip(both.labels, both.present, strict=True)] == [[0, 1, 2], [3, 4], [3, 4]]
    assert torch.equal(both.boxes_xyxy[0, 2], boxes[1, 0])
    assert mixed(objects, None) is objects


def test_no_objects_at_all() -> None:
    nothing = Objects(torch.zeros(3, 0, 4), torch.zeros(3, 0, dtype=torch.int64), torch.zeros(3, 0, dtype=torch.bool))
    mosaic = draw_mosaic(3, 16, 16, 1.0, torch.Generator())
    assert in_mosaic(nothing, mosaic).labels.shape == (3, 0)
    assert mixed(nothing, Mixing(torch.tensor([1, 2, 0]), torch.full((3,), 0.5), None)).labels.shape == (3, 0)
