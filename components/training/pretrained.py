"""The weights that torchvision publishes: of a network itself, or of the backbone inside it."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import torch
from torch import nn

from components.errors import ConfigError, DataError, TransientError, unknown_name


class Pretrained(NamedTuple):
    """Published weights.

    Attributes:
        state: Tensors under torchvision's own names of the network, or of the backbone's own where torchvision has no such network.
        classes: What the head's rows stand for, in order.
        mean: Per channel, of the images in 0..1 that the weights were learnt on.
        std: The same.
    """

    state: Mapping[str, torch.Tensor]
    classes: Sequence[str]
    mean: list[float]
    std: list[float]


def torchvision_weights(model: str, name: str) -> Pretrained:
    """Return published weights for a network, downloaded if torch's cache does not hold them.

    Args:
        model: The network's name, torchvision's or ours.
        name: Of its own weights (``COCO_V1``), of its backbone's (``IMAGENET1K_V1``), or torchvision's full name of any
            (``ResNet18_Weights.IMAGENET1K_V1``).

    Raises:
        ConfigError: There are no such weights.
        TransientError: They have to be downloaded and cannot be.
        DataError: The file in torch's cache is damaged.
    """
    import torchvision

    known = model in torchvision.models.list_models()
    own = torchvision.models.get_model_weights(model) if known else None
    inside = _backbone_weights(model) if known else None
    weights = _named(model, name, own, inside)
    state = _state(weights)
    if inside is not None and isinstance(weights, inside):
        state = _in_the_network(model, weights, state)
    transforms: Any = weights.transforms()
    if not hasattr(transforms, "mean"):  # a detector of torchvision normalises in its own first layer
        transform = cast(Any, torchvision.models.get_model(model, weights=None, weights_backbone=None).transform)
        return Pretrained(state, weights.meta["categories"], list(transform.image_mean), list(transform.image_std))
    return Pretrained(state, weights.meta["categories"], list(transforms.mean), list(transforms.std))


def _backbone_weights(model: str) -> Any:
    """Return the enumeration of the weights that torchvision's builder takes for the backbone, None where the network has none of its own."""
    import torchvision

    taken = inspect.signature(torchvision.models.get_model_builder(model)).parameters.get("weights_backbone")
    return None if taken is None else get_args(taken.annotation)[0]


def _named(model: str, name: str, own: Any, inside: Any) -> Any:
    import torchvision

    if "." in name:
        try:
            return torchvision.models.get_weight(name)
        except (ValueError, KeyError, AttributeError):
            raise ConfigError(f"train.init: torchvision has no weights '{name}'; expected for example ResNet18_Weights.IMAGENET1K_V1") from None
    names: dict[str, Any] = {**(inside.__members__ if inside else {}), **(own.__members__ if own else {})}
    if not names:
        raise ConfigError(
            f"train.init: torchvision has no weights for {model} as a whole; name those of a network that is part of it, "
            "for example torchvision:ResNet18_Weights.IMAGENET1K_V1"
        )
    if name not in names:
        raise unknown_name(f"weights of {model}", name, names)
    return names[name]


def _state(weights: Any) -> dict[str, torch.Tensor]:
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where torch says what it downloads
            return dict(weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True))
    except Exception as error:  # no network, a full disk, or whatever the reader of a damaged file trips over
        reason = " ".join(str(error).split())[:200]
        if file.exists():  # it is put there when it is complete
            raise DataError(f"{file} is damaged ({reason}). Delete it and run again") from None
        raise TransientError(
            f"train.init: {weights.url} could not be downloaded ({reason}). Try again with a network, or put the file into {file.parent}"
        ) from None


def _in_the_network(model: str, weights: Any, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a backbone's weights under the names that they have in a network of torchvision.

    torchvision itself puts them there (a VGG's layers are cut in two, a ResNet's stand under another name); what is found again was loaded.
    """
    import torchvision

    network = cast(nn.Module, torchvision.models.get_model(model, weights=None, weights_backbone=weights))
    published = {_content(tensor) for tensor in state.values()}
    return {name: tensor for name, tensor in network.state_dict().items() if name.startswith("backbone.") and _content(tensor) in published}


def _content(tensor: torch.Tensor) -> tuple[torch.Size, bytes]:
    return tensor.shape, hashlib.sha256(tensor.detach().contiguous().numpy().data).digest()
