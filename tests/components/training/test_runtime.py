from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from components.errors import ConfigError
from components.networks.classification.models import build
from components.records import Preprocess
from components.training.multiply_adds import multiply_adds
from components.training.options import FitOptions
from components.training.runtime import choose_runtime, cpu_has_bf16, plain_runtime, restored_runtime, threads

RESNET = build("resnet9", 2, 3, (32, 32), {"width": 4})
CPU = FitOptions(device="cpu")


@pytest.mark.parametrize("capable", [True, False])
def test_bf16_on_a_cpu_needs_the_instructions_and_no_depthwise_convolutions(monkeypatch: pytest.MonkeyPatch, capable: bool) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": capable, "amx_bf16": False})
    assert cpu_has_bf16() is capable
    assert choose_runtime(CPU, RESNET, 1).precision == ("bf16" if capable else "float32")
    assert choose_runtime(CPU, build("mobilenet_v2", 2, 3, (32, 32), {"width_mult": 0.25}), 1).precision == "float32"


def test_what_is_asked_for_is_done() -> None:
    asked = FitOptions(device="cpu", precision="bf16", channels_last="off", compile="on", num_threads=1)
    assert choose_runtime(asked, RESNET, 1).settings() == {
        "device": "cpu",
        "precision": "bf16",
        "channels_last": False,
        "compile": True,
        "num_threads": 1,
    }


def test_convolutions_lie_channels_last_and_nothing_is_compiled_on_a_cpu() -> None:
    chosen = choose_runtime(CPU, RESNET, 1)
    assert (chosen.channels_last, chosen.compile) == (True, False)
    assert not choose_runtime(CPU, torch.nn.Linear(2, 2), 1).channels_last
    assert chosen.images(torch.zeros(2, 3, 4, 4, dtype=torch.uint8)).is_contiguous(memory_format=torch.channels_last)


def test_small_batches_of_small_networks_take_one_thread() -> None:
    assert choose_runtime(CPU, RESNET, 1000).num_threads == 1
    assert choose_runtime(CPU, RESNET, 10**9).num_threads == torch.get_num_threads()


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"found cuda:9; this machine has \d+ CUDA devices"):
        choose_runtime(FitOptions(device="cuda:9"), RESNET, 1)


def test_a_resumed_run_keeps_its_settings() -> None:
    before = choose_runtime(FitOptions(device="cpu", precision="bf16", num_threads=2), RESNET, 1)
    now = plain_runtime("cpu")
    assert restored_runtime(before.settings(), now) == before
    assert restored_runtime(before.settings() | {"device": "cuda:0"}, now) == now


def test_threads_go_back() -> None:
    before = torch.get_num_threads()
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("name", "size", "expected"), [("resnet18", 224, 1.814e9), ("vit_b_16", 224, 17.56e9)])
def test_multiply_adds_are_those_of_the_papers(name: str, size: int, expected: float) -> None:
    model = build(name, 1000, 3, (size, size), {})
    assert multiply_adds(model, Preprocess(size_hw=(size, size), channels=3, resize="stretch")) == pytest.approx(expected, rel=0.01)


def test_images_that_a_network_cannot_take() -> None:
    with pytest.raises(ConfigError, match="cannot take images of 4×4 px"):
        multiply_adds(build("resnet9", 2, 3, (4, 4), {}), Preprocess(size_hw=(4, 4), channels=3, resize="stretch"))


def test_a_step_is_imported_without_torch_and_runs_without_tracking_server_dvc_and_expectations() -> None:
    code = "import sys, components.steps.train, components.steps.finetune; print('torch' in sys.modules); " + (
        "import components.training.initial, components.training.loop, components.tasks.classification; "
        "import components.evaluation.metrics.classification; "
        "print(sorted({'mlflow', 'dvc', 'great_expectations', 'prefect', 'boto3', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["False", "[]"]
