from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torchvision.models import MobileNet_V3_Small_Weights

from components.errors import ConfigError, DataError, TransientError
from components.training.pretrained import torchvision_weights

Publish = Callable[[str, str], dict[str, torch.Tensor]]
FILE = MobileNet_V3_Small_Weights.IMAGENET1K_V1.url.rpartition("/")[2]


def test_a_network_starts_from_its_own_weights_by_short_and_by_full_name(published: Publish) -> None:
    state = published("mobilenet_v3_small", "IMAGENET1K_V1")
    for name in ("IMAGENET1K_V1", "DEFAULT", "MobileNet_V3_Small_Weights.IMAGENET1K_V1"):
        found = torchvision_weights("mobilenet_v3_small", name)
        assert found.state.keys() == state.keys()
        assert all(torch.equal(found.state[key], state[key]) for key in state)
        assert found.mean == [0.485, 0.456, 0.406]
        assert len(found.classes) == 1000
    ours = torchvision_weights("yolo_nano", "MobileNet_V3_Small_Weights.IMAGENET1K_V1")
    assert ours.state.keys() == state.keys()


def test_a_backbone_stands_where_torchvision_puts_it(published: Publish) -> None:
    state = published("mobilenet_v3_large", "IMAGENET1K_V1")
    found = torchvision_weights("ssdlite320_mobilenet_v3_large", "IMAGENET1K_V1")
    # its last feature block is cut in two there, so names do not tell where its layers stand
    assert torch.equal(found.state["backbone.features.0.0.0.weight"], state["features.0.0.weight"])
    assert torch.equal(found.state["backbone.features.1.0.1.0.weight"], state["features.13.block.1.0.weight"])
    assert {key for key, tensor in found.state.items() if tensor.dim() == 4} == {
        key for key in found.state if key.startswith("backbone.features.") and found.state[key].dim() == 4
    }


def test_a_detector_of_torchvision_normalises_as_its_own_first_layer_does(published: Publish) -> None:
    published("ssdlite320_mobilenet_v3_large", "COCO_V1")
    found = torchvision_weights("ssdlite320_mobilenet_v3_large", "COCO_V1")
    assert found.mean == found.std == [0.5, 0.5, 0.5]
    assert found.classes[:2] == ["__background__", "person"]


@pytest.mark.parametrize(
    ("model", "name", "text"),
    [
        ("mobilenet_v3_small", "IMAGENET", "unknown weights of mobilenet_v3_small 'IMAGENET'. Did you mean 'IMAGENET1K_V1'"),
        ("lraspp_mobilenet_v3_large", "COCO", "There are: COCO_WITH_VOC_LABELS_V1, DEFAULT, IMAGENET1K_V1, IMAGENET1K_V2"),
        ("unet", "IMAGENET1K_V1", "no weights for unet as a whole; name those of a network that is part of it"),
        ("unet", "UNet_Weights.V1", "torchvision has no weights 'UNet_Weights.V1'; expected for example ResNet18_Weights"),
        ("unet", "ResNet18_Weights.V9", "torchvision has no weights 'ResNet18_Weights.V9'"),
    ],
)
def test_weights_that_there_are_not_are_named_with_those_there_are(model: str, name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        torchvision_weights(model, name)


def test_a_download_that_fails_may_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies of whoever asked first
    with pytest.raises(TransientError, match=f"{FILE} could not be downloaded .*refused.*put the file into {tmp_path}/hub/checkpoints"):
        torchvision_weights("mobilenet_v3_small", "IMAGENET1K_V1")


def test_a_damaged_file_in_the_cache_is_named(published: Publish, tmp_path: Path) -> None:
    published("mobilenet_v3_small", "IMAGENET1K_V1")
    file = tmp_path / "cache/hub/checkpoints" / FILE
    for content in (file.read_bytes()[:10_000], b"<html>Not Found</html>"):
        file.write_bytes(content)
        with pytest.raises(DataError, match=rf"{FILE} is damaged \(.*Delete it and run again"):
            torchvision_weights("mobilenet_v3_small", "IMAGENET1K_V1")
