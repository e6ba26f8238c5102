import torch

from components.explanation.gradcam import gradcam
from tests.components.explanation.conftest import LOWER_RIGHT, UPPER_LEFT, share


def test_a_class_is_seen_where_it_is(stripes):
    assert share(gradcam(stripes.subject, stripes.image, stripes.first), UPPER_LEFT) > 0.9
    assert share(gradcam(stripes.subject, stripes.image, stripes.second), LOWER_RIGHT) > 0.9


def test_a_box_is_explained_by_what_is_in_it_not_by_another_of_its_class(blobs):
    first, second = (gradcam(blobs.subject, blobs.image, answer) for answer in (blobs.first, blobs.second))
    assert share(first, (slice(2, 18), slice(2, 18))) > 0.9
    assert share(second, (slice(14, 30), slice(14, 30))) > 0.9


def test_the_network_is_left_as_it_was(stripes):
    before = {name: tensor.clone() for name, tensor in stripes.subject.model.state_dict().items()}
    gradcam(stripes.subject, stripes.image, stripes.first)
    assert all(torch.equal(tensor, before[name]) for name, tensor in stripes.subject.model.state_dict().items())
    assert not any(module._forward_hooks for module in stripes.subject.model.modules())
