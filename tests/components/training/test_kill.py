"""SIGKILL at random steps, again and again: the weights come out as if nothing had happened, bit by bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Each attempt is forked from a process that has imported torch and run nothing: what the flow does, and 20 s less a test.
SCRIPT = """
import os, random, signal, sys, threading
from pathlib import Path
import torch, torch._dynamo
from torch.optim.optimizer import register_optimizer_step_post_hook
from components.config import TaskConfig
from components.protocols import Context
from components.steps.train import TrainConfig, train
import components.training.initial, components.training.loop, components.tasks.classification, components.evaluation.metrics.classification

data, folder, draws = Path(sys.argv[1]), Path(sys.argv[2]), random.Random(int(sys.argv[3]))
config = TrainConfig(model_options={"width": 8}, epochs=4, batch_size=32, optimizer=sys.argv[4], lr=0.01, schedule="onecycle", ema=0.9,
                     accumulate=2, clip_norm=1.0, label_smoothing=0.1, multi_scale=[0.75, 1.25], checkpoint_minutes=1e-6)
task = TaskConfig(name="classification", image_size=16, channels=1)

def attempt(name, last_step=0, seconds=0.0):
    if pid := os.fork():
        return os.waitpid(pid, 0)[1]
    steps = 0

    def count(*_):
        nonlocal steps
        steps += 1
        if steps == last_step:
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

    register_optimizer_step_post_hook(count)
    try:
        train(config, task, data, folder, folder / name, Context(scratch=folder / f"scratch-{name}"))
        (folder / f"steps-{name}").write_text(str(steps))
        os._exit(0)
    finally:
        os._exit(1)

assert attempt("whole") == 0
for _ in range(4):
    # A step takes some ten milliseconds, the checkpoint after it likewise: death comes anywhere in them.
    status = attempt("killed", draws.randint(2, 14), draws.uniform(0, 0.04))
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
assert attempt("killed") == 0
"""


@pytest.mark.parametrize(("seed", "optimizer"), [(0, "adamw"), (1, "sgd")])
def test_killed_and_started_again_it_ends_with_the_same_bits(prepared_digits: Path, tmp_path: Path, seed: int, optimizer: str) -> None:
    command = [sys.executable, "-c", SCRIPT, str(prepared_digits), str(tmp_path), str(seed), optimizer]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert int((tmp_path / "steps-killed").read_text()) < int((tmp_path / "steps-whole").read_text()), "it went on, it did not begin anew"
    for name in ("weights.safetensors", "spec.json", "summary.json", "history.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
