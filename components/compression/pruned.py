"""Structured pruning: whole channels are removed until a share of the multiply-adds is left, then training goes on.

Which layers must lose the same channels follows from the traced network (Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023).
All layers compete for one share of channels, no layer loses more than `_MAX_LAYER_RATIO` of its own.

What matters, measured on a YOLO (nano) that finds blood cells (BCCD) with an average precision of 0.567 on its validation images, half of the
multiply-adds removed, before any recovery:

    importance by norm, blocks rounded down, statistics as they were                 0.003
    importance by norm, blocks rounded up, statistics measured anew                  0.014
    importance by first-order Taylor, blocks rounded down, statistics measured anew  0.356
    importance by first-order Taylor, blocks rounded up, statistics measured anew    0.394

The norms of channels that had little time to learn are all alike, so that thin layers at full resolution, which learn first, lost most; rounding
down took half of a layer of 16 channels for one that mattered little. The gradients were those of 96 images; with all 205 the last line is 0.322.
Recovery wants a low rate: from there four epochs with a peak of 0.0005 brought 0.537, the same network from random weights came to 0.371 in as many,
and a peak of 0.003 undid a network that had kept 0.39 (0.04).
"""

from __future__ import annotations

import copy
import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from components.compression._options import CompressConfig
from components.compression._statistics import measure_statistics
from components.datasets.policy import Policy
from components.datasets.prepared import Prepared
from components.errors import DarkroomError, InputError
from components.networks.structure import structure_of
from components.progress import bar
from components.protocols import Context
from components.records import ModelSpec, TrainRecord
from components.training.distillation import Distillation
from components.training.loop import fit
from components.training.model_files import load_model, write_training
from components.training.multiply_adds import multiply_adds
from components.training.options import FitOptions
from components.training.problem import Problem
from components.training.runtime import plain_runtime

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_MAX_LAYER_RATIO = 0.8
_BLOCK = 8  # channels: processors compute in such blocks; a pruned ResNet9 trains 1.26 times as fast as with odd numbers of channels
_SEARCH_STEPS = 7  # halvings of the ratio: the multiply-adds come within about one percent of the target
#: For Taylor importance, in batches as recovery takes them at most.
_GRADIENT_IMAGES, _BATCH = 512, 128

Gradients = dict[str, torch.Tensor]


class Pruned:
    """Removes channels by group norm (or first-order Taylor importance) and recovers by training."""

    def compress(self, model: Path, data: Path, options: CompressConfig, out: Path, context: Context) -> TrainRecord:
        """Prune, recover, save.

        Raises:
            InputError: The network cannot be pruned, or not that far.
        """
        dense, spec = load_model(model)
        prepared = Prepared.open(data)
        problem = Problem.of(dense, spec, prepared)
        network, pruned_spec = _prune(problem, options)
        measure_statistics(network, problem.train)
        before, after = multiply_adds(dense, spec.preprocess), multiply_adds(network, spec.preprocess)
        log.info("pruned: %.3g of %.3g million multiply-adds are left (%.0f%%); recovering", after / 1e6, before / 1e6, 100 * after / before)
        result = fit(
            replace(problem, model=network, spec=pruned_spec),
            options.recovery,
            options.recovery.policy or Policy.model_validate(prepared.policy),
            context=context,
            description="recover",
            start=True,
            distillation=Distillation.of(problem.task, dense, options.recovery.distill),
        )
        if options.recovery.epochs and not result.best_epoch:
            log.warning(
                "recovery: no epoch was better than the pruned network as it was, which is kept; lower compress.recovery.lr (%g)", options.recovery.lr
            )
        return write_training(out, result, network, pruned_spec, loaded="the tuned model, pruned")


def _prune(problem: Problem, options: CompressConfig) -> tuple[nn.Module, ModelSpec]:
    dense, spec = problem.model, problem.spec
    gradients = _gradients(problem, min(_BATCH, options.recovery.batch_size)) if options.importance == "taylor" else {}
    target = options.target_macs * multiply_adds(dense, spec.preprocess)

    def cost(network: nn.Module) -> float:
        return multiply_adds(network, spec.preprocess)

    check_convolutional(dense, spec.model)
    try:
        network = prune_to(dense, example_of(spec), target, cost, gradients)
    except DarkroomError:
        raise
    except Exception as error:  # whatever the tracer or a forward pass of an unsuitable network raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"model {spec.model} cannot be pruned ({reason}); take 'pruned' out of compress.variants") from error
    return network, spec.model_copy(update={"structure": structure_of(network)})


def check_convolutional(network: nn.Module, model: str) -> None:
    """Refuse attention and its like: tracing it takes hours, and its sizes stand in its code, where pruning cannot change them.

    Raises:
        InputError: A layer is neither convolution nor linear.
    """
    for name, module in network.named_modules():
        for parameter in module.parameters(recurse=False):
            matrix = sum(size > 1 for size in parameter.shape) > 1
            if matrix and not isinstance(module, nn.Conv2d | nn.Linear):
                raise InputError(
                    f"model {model} cannot be pruned: {name} ({type(module).__name__}) is neither convolution nor linear layer; "
                    "take 'pruned' out of compress.variants"
                )


def example_of(spec: ModelSpec) -> torch.Tensor:
    """Return images_NCHW (2, C, H, W) of the size the model takes."""
    return torch.zeros(2, spec.preprocess.channels, *spec.preprocess.size_hw)


def prune_to(dense: nn.Module, example_NCHW: torch.Tensor, target: float, cost: Callable[[nn.Module], float], gradients: Gradients) -> nn.Module:
    """Return the largest pruned copy of a network that costs at most `target`.

    Args:
        dense: The network, left as it is.
        example_NCHW: Images to trace it with.
        target: In the unit of `cost`.
        cost: For example the multiply-adds; falls as channels are removed.
        gradients: By parameter name, for Taylor importance; empty: importance is the norm of the weights.

    Raises:
        InputError: The smallest network costs more.
    """
    least = float("inf")
    for block in (1,) if _has_groups(dense) else (_BLOCK, 1):
        network, least = _search(dense, example_NCHW, target, cost, gradients, block)
        if network is not None:
            return network
    share = least / cost(dense)
    raise InputError(f"compress.target_macs: found {target / cost(dense):.2f}; pruning this network leaves {share:.2f} at least; set a larger share")


def _search(
    dense: nn.Module, example_NCHW: torch.Tensor, target: float, cost: Callable[[nn.Module], float], gradients: Gradients, block: int
) -> tuple[nn.Module | None, float]:
    """Return the largest network that costs at most `target`, and what the smallest that was tried costs; by bisection of the share of channels."""
    low, high, least = 0.0, 1.0, float("inf")
    best: nn.Module | None = None
    with bar("prune", _SEARCH_STEPS, "trials") as progress:
        for _ in range(_SEARCH_STEPS):
            ratio = (low + high) / 2
            candidate = pruned_copy(dense, example_NCHW, ratio, gradients, block)
            found = cost(candidate)
            least = min(least, found)
            progress.update(1, ratio=ratio)
            if found <= target:
                best, high = candidate, ratio
            else:
                low = ratio
    return best, least


def _has_groups(network: nn.Module) -> bool:
    """Tell whether a convolution has groups of several channels: blocks of channels cannot be kept in each of them."""
    return any(isinstance(layer, nn.Conv2d) and 1 < layer.groups < layer.out_channels for layer in network.modules())


def pruned_copy(dense: nn.Module, example_NCHW: torch.Tensor, ratio: float, gradients: Gradients, block: int = 1) -> nn.Module:
    """Return a copy without the `ratio` least important channels; the layers that make the outputs keep all of theirs.

    Each layer gives up whole blocks: of 16 channels one that matters little takes none away, 15 take 8.
    """
    import torch_pruning

    class Pruner(torch_pruning.pruner.BasePruner):  # type: ignore[misc]
        def _round_to(self, n_pruned: int, current_channels: int, round_to: int) -> int:  # noqa: ARG002 - the library's signature; its own rounds the rest down
            return n_pruned // round_to * round_to

    network = copy.deepcopy(dense).eval()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(True)
        parameter.grad = gradients[name].clone() if name in gradients else None
    importance = torch_pruning.importance.GroupTaylorImportance() if gradients else torch_pruning.importance.GroupMagnitudeImportance(p=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unwrapped parameters detected")  # biases of their own: they have but the channels' dimension
        pruner = Pruner(
            network,
            example_NCHW,
            importance=importance,
            global_pruning=True,
            pruning_ratio=ratio,
            max_pruning_ratio=_MAX_LAYER_RATIO,
            round_to=block,
            ignored_layers=output_layers(network, example_NCHW),
        )
    pruner.step()
    network.zero_grad(set_to_none=True)
    with torch.inference_mode():
        network(example_NCHW)  # an unsuitable network fails here, not later
    return network


def output_layers(network: nn.Module, example_NCHW: torch.Tensor) -> list[nn.Module]:
    """Return the linear and convolution layers behind which no other stands on the way to the outputs."""
    made: dict[object, nn.Module] = {}

    def remember(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        made[output.grad_fn] = layer

    hooks = [layer.register_forward_hook(remember) for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    outputs = network(example_NCHW)
    for hook in hooks:
        hook.remove()
    found: list[nn.Module] = []
    seen: set[object] = set()
    ahead = [tensor.grad_fn for tensor in _tensors(outputs)]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in made:
            found.append(made[node])
        else:
            ahead += [parent for parent, _ in node.next_functions]
    return found


def _tensors(outputs: object) -> list[torch.Tensor]:
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    items = outputs.values() if isinstance(outputs, dict) else outputs if isinstance(outputs, list | tuple) else []
    return [tensor for item in items for tensor in _tensors(item)]


def _gradients(problem: Problem, batch_size: int) -> Gradients:
    """Return the mean gradient of the loss over some training images, each parameter's by its name."""
    task, train = problem.task, problem.train
    chosen = train.order[:: max(1, len(train.order) // _GRADIENT_IMAGES)]
    targets = problem.training_targets()
    loss_options = task.loss_options(FitOptions().model_dump(), targets, problem.spec.classes)
    network, cpu, runtime = copy.deepcopy(problem.model).eval(), torch.device("cpu"), plain_runtime("cpu")
    with bar("weigh channels", len(chosen)) as progress:
        for first in range(0, len(chosen), batch_size):
            batch = np.sort(chosen[first : first + batch_size])
            images = runtime.images(torch.from_numpy(train.images[batch]).permute(0, 3, 1, 2))
            torch.autograd.backward(task.loss(network, images, task.collate([targets[image] for image in batch], cpu), loss_options))
            progress.update(len(batch))
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


plugin = Pruned()
