"""What is taken over from torchvision says what torchvision says."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from components.networks.detection.models import build

SIZE = (64, 64)


def _own(name: str, raw: dict[str, torch.Tensor], model: Any, anchors: torch.Tensor, counts: list[int]) -> Any:
    """Return what torchvision's own inference finds."""
    if name.startswith("ssd"):
        return model.postprocess_detections(raw, [anchors, anchors], [SIZE, SIZE])
    by_level = {key: list(torch.split(value, counts, dim=1)) for key, value in raw.items()}
    return model.postprocess_detections(by_level, [list(torch.split(anchors, counts))] * 2, [SIZE, SIZE])


@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "retinanet_resnet18_fpn", "fcos_resnet18_fpn"])
def test_what_torchvision_itself_finds_is_among_what_is_decoded(name: str) -> None:
    torch.manual_seed(0)
    detector: Any = build(name, 3, 1, SIZE, {}).eval()
    for head in detector.head_names():
        torch.nn.init.normal_(detector.get_parameter(head), std=0.1)
    with torch.no_grad():
        raw, anchors = detector(torch.rand(2, 1, *SIZE)), detector.anchors(SIZE)
        boxes, scores = detector.decode(raw, anchors, SIZE)
    per_place = len(anchors) // sum(height * width for height, width in detector.level_sizes(SIZE)) if "ssd" not in name else 1
    detector.model.score_thresh = 0.05
    found = _own(name, raw, detector.model, anchors, [height * width * per_place for height, width in detector.level_sizes(SIZE)])
    first = 1 if name.startswith("ssd") else 0  # theirs has a background
    assert sum(len(each["labels"]) for each in found) > 5
    for image, each in enumerate(found):
        for box, label, score in zip(each["boxes"], each["labels"] - first, each["scores"], strict=True):
            near = (scores[image, :, label] - score).abs() < 1e-5
            assert (boxes[image][near] - box).abs().amax(dim=1).min() < 1e-3


def test_default_boxes_stand_where_torchvision_puts_them() -> None:
    import torchvision

    detector: Any = build("ssdlite320_mobilenet_v3_large", 3, 3, (320, 320), {})
    theirs = torchvision.models.get_model("ssdlite320_mobilenet_v3_large", weights=None, weights_backbone=None).eval()
    made: list[Any] = []
    theirs.anchor_generator.register_forward_hook(lambda _module, _given, anchors: made.append(anchors[0]))
    with torch.no_grad():
        theirs([torch.zeros(3, 320, 320)])
    torch.testing.assert_close(detector.anchors((320, 320)), made[0])
    half = build("ssdlite320_mobilenet_v3_large", 3, 3, (320, 320), {"anchor_scale": 0.5}).anchors((320, 320))
    torch.testing.assert_close((half[0, 2:] - half[0, :2]) * 2, made[0][0, 2:] - made[0][0, :2])
