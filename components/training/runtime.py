"""Where and how a network runs: device, precision, memory layout, compilation, threads.

`auto` follows from what the machine can do and what the network is, never from a timing, so that the same machine always chooses the
same; what it became is recorded and reused when a run is resumed.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from components.errors import ConfigError
from components.training.options import FitOptions

log = logging.getLogger(__name__)

#: Multiply-adds of a batch up to which a second CPU thread costs more than it brings: each layer waits for the slower of two, which on a
#: busy machine (a server that starts, another training) made steps twenty times as long.
ONE_THREAD_MULTIPLY_ADDS = 1_000_000_000


@dataclass(frozen=True)
class Runtime:
    """What `auto` became.

    Attributes:
        device: Where it runs.
        precision: float32, or bf16: autocast, the weights stay float32.
        channels_last: Whether weights and images lie in memory as NHWC.
        compile: Whether training steps go through torch.compile.
        num_threads: Of the CPU; one thread or two give different weights from the same seed.
    """

    device: torch.device
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    num_threads: int = 0

    def settings(self) -> dict[str, Any]:
        """Return all as plain values."""
        return {
            "device": str(self.device),
            "precision": self.precision,
            "channels_last": self.channels_last,
            "compile": self.compile,
            "num_threads": self.num_threads,
        }

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context that a forward pass runs in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def seed(self, seed: int) -> None:
        """Seed the device's global generator, which dropout and its like draw from."""
        # not torch.manual_seed: before CUDA's first use it keeps the stack trace of each call, which cost more than a small batch
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)

    def place(self, model: nn.Module) -> nn.Module:
        """Move a network to the device and into its memory layout, in place."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return model.to(self.device).to(memory_format=layout)

    def images(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return images as the network reads them fastest: float in 0..1, in the layout of the weights."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        if images_NCHW.is_floating_point():
            return images_NCHW.contiguous(memory_format=layout)
        return images_NCHW.to(torch.float32, memory_format=layout).div_(255)


def plain_runtime(device: str = "auto") -> Runtime:
    """Return float32 without anything special, on the best device there is or on the one that is named.

    Raises:
        ConfigError: The device is not there.
    """
    return Runtime(_device(device), num_threads=torch.get_num_threads())


def choose_runtime(options: FitOptions, model: nn.Module, multiply_adds: int) -> Runtime:
    """Decide what every `auto` becomes.

    Args:
        options: What was asked for.
        model: The network; convolutions decide on channels-last, depthwise ones against bf16 on a CPU.
        multiply_adds: Of one image; decides on the threads.

    Raises:
        ConfigError: The device that was asked for is not there.
    """
    device = _device(options.device)
    has_convolutions = any(isinstance(module, nn.Conv2d) for module in model.modules())
    channels_last = has_convolutions if options.channels_last == "auto" else options.channels_last == "on"
    if options.precision != "auto":
        precision = options.precision
    elif device.type == "cuda":
        precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    else:
        precision = "bf16" if cpu_has_bf16() and not _has_depthwise_convolutions(model) else "float32"
    several_sizes = options.multi_scale[0] != options.multi_scale[1]  # each would be compiled for itself
    compiled = (device.type == "cuda" and _can_compile() and not several_sizes) if options.compile == "auto" else options.compile == "on"
    small = device.type == "cpu" and multiply_adds * options.batch_size <= ONE_THREAD_MULTIPLY_ADDS
    num_threads = options.num_threads if options.num_threads != "auto" else 1 if small else torch.get_num_threads()
    return Runtime(device, precision, channels_last, compiled, num_threads)


def restored_runtime(settings: dict[str, Any], chosen: Runtime) -> Runtime:
    """Return the settings that a checkpoint was written under, or `chosen` where the machine cannot follow them.

    Args:
        settings: What `Runtime.settings` returned then.
        chosen: What would be chosen now.
    """
    before = Runtime(torch.device(settings["device"]), settings["precision"], settings["channels_last"], settings["compile"], settings["num_threads"])
    if before.device.type != chosen.device.type:
        log.info(
            "the checkpoint was written on %s, this run goes on on %s: the weights will not be the same bit by bit", before.device, chosen.device
        )
        return chosen
    return before


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run the block with `count` CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cpu_has_bf16() -> bool:
    """Tell whether the processor has bf16 instructions (avx512_bf16 or AMX)."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _has_depthwise_convolutions(model: nn.Module) -> bool:
    # oneDNN's depthwise convolutions are slower in bf16 than in float32: measured on a Zen 4 core, training steps of MobileNet, EfficientNet,
    # ShuffleNet and ConvNeXt ran at 0.5 to 0.8 times the speed, those of all other families tried at 1.2 to 1.8 times, from 1.5 M multiply-adds on
    return any(isinstance(module, nn.Conv2d) and module.groups > 1 and module.groups == module.in_channels for module in model.modules())


def _can_compile() -> bool:
    return find_spec("triton") is not None and any(shutil.which(name) for name in ("cc", "gcc", "clang"))


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device: found {name}; this machine has {torch.cuda.device_count()} CUDA devices. Use auto or cpu")
    return device
