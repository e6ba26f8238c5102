from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from components.networks.detection.faster_rcnn import FasterRCNN
from components.networks.detection.objects import padded

SIZE = (96, 64)


@pytest.fixture(scope="module", params=["resnet18", "mobilenet_v3_large"])
def detector(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    detector: Any = FasterRCNN(3, 1, request.param, anchor_scale=0.5, proposals=200).eval()
    detector.model.backbone.train()  # normalised by the batch: places differ, and so do their scores
    for name in ("cls_logits", "bbox_pred"):
        torch.nn.init.normal_(getattr(detector.model.rpn.head, name).weight, std=0.05)
    return detector


def test_the_same_is_proposed_as_by_torchvision_image_by_image(detector: Any) -> None:
    with torch.no_grad():
        raw, anchors = detector(torch.rand(2, 1, *SIZE)), detector.anchors(SIZE)
        proposals, there = detector.proposals(raw, anchors, SIZE)
        detector.model.rpn._post_nms_top_n["testing"] = 200
        from torchvision.models.detection.image_list import ImageList

        theirs, _ = detector.model.rpn(ImageList(torch.empty(2, 0, *SIZE), [SIZE, SIZE]), raw.levels)
    for ours, present, own in zip(proposals, there, theirs, strict=True):
        assert 20 < len(own) <= 200
        torch.testing.assert_close(ours[present], own, atol=1e-3, rtol=0)


def test_proposals_are_read_as_torchvision_reads_them(detector: Any) -> None:
    corners = torch.rand(2, 50, 2) * torch.tensor([40.0, 60.0])
    proposals = torch.cat([corners, corners + torch.rand(2, 50, 2) * torch.tensor([24.0, 36.0])], dim=2)
    proposals[0, 0] = torch.tensor([0.0, 0, 64, 96])
    with torch.no_grad():
        levels = detector(torch.rand(2, 1, *SIZE)).levels
        theirs = detector.model.roi_heads.box_roi_pool(levels, list(proposals), [SIZE, SIZE])
        torch.testing.assert_close(detector.pooled(levels, proposals, SIZE), theirs)


def test_places_that_are_no_proposals_say_nothing(detector: Any) -> None:
    detector.model.rpn.score_thresh = 2.0  # none is as sure
    with torch.no_grad():
        _, scores = detector.decode(detector(torch.rand(2, 1, *SIZE)), detector.anchors(SIZE), SIZE)
    assert (scores == 0).all()


class _Finite(TorchFunctionMode):
    """Refuses a number that eight bits cannot hold."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.is_floating_point() and "empty" not in func.__name__:
            assert found.isfinite().all(), func.__name__
        return found


def test_nothing_on_the_way_to_places_that_are_no_proposals_is_infinite(detector: Any) -> None:
    proposals = torch.zeros(2, 50, 4)
    with torch.no_grad():
        levels = detector(torch.rand(2, 1, *SIZE)).levels
        with _Finite():
            assert detector.pooled(levels, proposals, SIZE).shape == (100, 256, 7, 7)


def test_as_many_proposals_are_learnt_from_as_are_asked_for() -> None:
    detector: Any = FasterRCNN(3, 1, "resnet18", anchor_scale=0.5, samples=16)
    shapes: list[torch.Size] = []
    detector.model.roi_heads.box_head.register_forward_hook(lambda _module, given, _found: shapes.append(given[0].shape))
    box = torch.tensor([[10.0, 10, 30, 40]])
    objects = padded([box, box], [torch.zeros(1, dtype=torch.int64)] * 2, torch.device("cpu"))
    assert detector.loss(detector(torch.rand(2, 1, *SIZE)), objects, SIZE, {}).isfinite()
    assert shapes == [(2 * 16, 256, 7, 7)]
