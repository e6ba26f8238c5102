"""Detection: an answer is a box with its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import nn
from torchvision.ops import box_iou

from components.networks.detection.detector import Detector
from components.protocols import Answer, Support
from components.serving.detections import Detections
from components.serving.postprocess.detection import SHOWN_SCORE

_LEAST_PROBABILITY = 1e-6


class DetectionAnswers:
    """The `Answers` of detection."""

    have_places = True

    def of(self, prediction: Detections, classes: Sequence[str]) -> Sequence[Answer]:  # noqa: ARG002 - the seam's signature
        """Return each detection that is shown to people, the surest first."""
        boxes, labels, scores = prediction
        shown = np.flatnonzero(scores >= SHOWN_SCORE)
        return [Answer(int(labels[one]), Detections(boxes[[one]], labels[[one]], scores[[one]])) for one in shown]

    def support(self, model: nn.Module, images_NCHW: torch.Tensor, answer: Answer) -> Support:
        """Return the logit of the class at the point, anchor or proposal that is most this box, and its score times the overlap with the box.

        The similarity of detections of D-RISE (Petsiuk et al. 2021, arXiv:2006.03204), within a class. No gradient goes through the overlap:
        it is largest, so without one, where the network says the box itself.
        """
        detector, size_hw = _detector(model), (images_NCHW.shape[2], images_NCHW.shape[3])
        boxes, scores = detector.decode(model(images_NCHW), detector.anchors(size_hw, images_NCHW.device), size_hw)
        wanted = torch.from_numpy(answer.part.boxes_xyxy).to(boxes)
        overlap = box_iou(boxes.detach().reshape(-1, 4), wanted).nan_to_num().view(scores.shape[:2])
        best = (overlap * scores[..., answer.label]).argmax(dim=1, keepdim=True)
        score = scores[..., answer.label].gather(1, best)[:, 0]
        return Support(torch.logit(score, eps=_LEAST_PROBABILITY), score * overlap.gather(1, best)[:, 0])

    def feature_layers(self, model: nn.Module, images_NCHW: torch.Tensor) -> Sequence[str]:  # noqa: ARG002 - other tasks need the images
        """Return the levels of the pyramid that the heads read."""
        return [f"network.{name}" for name in _detector(model).feature_layers()]


def _detector(model: nn.Module) -> Detector:
    """Return the network behind its normalisation."""
    return cast(Detector, model.network)


plugin = DetectionAnswers()
