"""SIGKILL at random steps, again and again: the weights come out as if nothing had happened, bit by bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Each attempt is forked from a process that has imported torch and run nothing: what the flow does, and 20 s less a test.
SCRIPT = """
import os, random, signal, sys, time
from pathlib import Path
import torch, torch._dynamo
from components.config import TaskConfig
from components.protocols import Context
from components.steps.train import TrainConfig, train
import components.training.initial, components.training.loop, components.tasks.classification, components.evaluation.metrics.classification

data, folder, draws = Path(sys.argv[1]), Path(sys.argv[2]), random.Random(int(sys.argv[3]))
config = TrainConfig(model_options={"width": 8}, epochs=4, batch_size=32, optimizer=sys.argv[4], lr=0.01, schedule="onecycle", ema=0.9,
                     accumulate=2, clip_norm=1.0, label_smoothing=0.1, multi_scale=[0.75, 1.25], checkpoint_minutes=1e-6)
task = TaskConfig(name="classification", image_size=16, channels=1)

def attempt(out, scratch):
    if pid := os.fork():
        return pid
    try:
        train(config, task, data, folder, folder / out, Context(scratch=folder / scratch))
        os._exit(0)
    finally:
        os._exit(1)

began = time.monotonic()
assert os.waitpid(attempt("whole", "scratch-whole"), 0)[1] == 0
seconds = time.monotonic() - began
kills = 0
while True:
    pid = attempt("killed", "scratch-killed")
    if kills < 4:
        time.sleep(draws.uniform(0.2, 0.5) * seconds)
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if not os.WIFSIGNALED(status):
        break
    kills += 1
assert status == 0
print(kills)
"""


@pytest.mark.parametrize(("seed", "optimizer"), [(0, "adamw"), (1, "sgd")])
def test_killed_and_started_again_it_ends_with_the_same_bits(prepared_digits: Path, tmp_path: Path, seed: int, optimizer: str) -> None:
    command = [sys.executable, "-c", SCRIPT, str(prepared_digits), str(tmp_path), str(seed), optimizer]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2
    for name in ("weights.safetensors", "spec.json", "summary.json", "history.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert not list(tmp_path.rglob("*.pt"))
