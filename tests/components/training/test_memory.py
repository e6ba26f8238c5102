from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: In a process of its own: how glibc behaves depends on all that was freed before.
SCRIPT = """
import resource
from pathlib import Path
import torch
from components.networks.classification.small import resnet9
from components.training.memory import kept_memory

network, images = resnet9(10, 3, 8), torch.rand(64, 3, 32, 32)

def faults_of_three_steps():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        network(images).sum().backward()
        network.zero_grad()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 2**20

faults_of_three_steps()
without = max(faults_of_three_steps() for _ in range(3))  # how much of the heap ends up free at its end differs
with kept_memory():
    faults_of_three_steps()
    kept, inside = min(faults_of_three_steps() for _ in range(3)), resident_mb()  # the kernel takes pages away, too
print(without, kept, inside - resident_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_step_finds_the_memory_of_the_one_before_and_the_end_gives_it_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    without, kept, given_back = map(int, done.stdout.split())
    assert kept < without / 3, done.stdout
    assert given_back > 10, done.stdout
