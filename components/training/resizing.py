"""A trained model at another image size."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from components.errors import ConfigError
from components.protocols import Task
from components.records import ModelSpec


def resized(task: Task, model: nn.Module, spec: ModelSpec, size_hw: tuple[int, int]) -> tuple[nn.Module, ModelSpec]:
    """Return the model and its spec for images of another size; the positions of a vision transformer are interpolated.

    Args:
        task: Builds the network.
        model: Trained at `spec.preprocess.size_hw`.
        spec: Of the model.
        size_hw: Height and width in pixels.

    Raises:
        ConfigError: The network's weights depend on the size in a way that cannot be interpolated.
    """
    if spec.preprocess.size_hw == size_hw:
        return model, spec
    wanted = spec.model_copy(update={"preprocess": spec.preprocess.model_copy(update={"size_hw": size_hw})})
    fresh = task.build_model(wanted)
    state = model.state_dict()
    if spec.model.startswith("vit_"):
        state = _interpolated(state, size_hw[0], int(spec.model.rpartition("_")[2]))
    try:
        fresh.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        before, after = ("×".join(map(str, sides)) for sides in (spec.preprocess.size_hw, size_hw))
        raise ConfigError(f"{spec.model} cannot go from {before} to {after} px: {reason}. Set task.finetune_image_size: null") from None
    return fresh, wanted


def _interpolated(state: dict[str, object], size: int, patch: int) -> dict[str, object]:
    from torchvision.models.vision_transformer import interpolate_embeddings

    prefix = "network."
    bare = OrderedDict((name.removeprefix(prefix), tensor) for name, tensor in state.items())
    fitted = interpolate_embeddings(size, patch, bare)
    return {f"{prefix}{name}": tensor for name, tensor in fitted.items()}
