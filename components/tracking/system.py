"""How busy the machine is while a stage runs: CPU, memory, disk, network, GPUs, under the names that MLflow's page knows."""

from __future__ import annotations

import shutil
import subprocess
import threading
from types import TracebackType

import psutil

from components.protocols import Tracker

_GPU_QUERY = ("utilization.gpu", "memory.used", "memory.total", "power.draw")


class SystemMetrics:
    """Samples the machine on a thread of its own while the block runs.

    Args:
        tracker: Listens.
        every_s: Seconds between two samples.
    """

    def __init__(self, tracker: Tracker, every_s: float = 10.0) -> None:
        self._tracker, self._every_s = tracker, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="system-metrics", daemon=True)

    def __enter__(self) -> SystemMetrics:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _sample(self) -> None:
        network = psutil.net_io_counters()
        psutil.cpu_percent()
        step = 0
        while not self._stop.wait(self._every_s):
            sample = {f"system/{name}": value for name, value in {**machine_load(), **gpu_load()}.items()}
            now = psutil.net_io_counters()
            sample["system/network_receive_megabytes"] = (now.bytes_recv - network.bytes_recv) / 1e6
            sample["system/network_transmit_megabytes"] = (now.bytes_sent - network.bytes_sent) / 1e6
            self._tracker.log_metrics(sample, step)
            step += 1


def machine_load() -> dict[str, float]:
    """Return CPU (percent since the last call), memory and disk use."""
    memory, disk = psutil.virtual_memory(), psutil.disk_usage("/")
    return {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / 1e6,
        "system_memory_usage_percentage": memory.percent,
        "disk_usage_percentage": disk.percent,
        "disk_available_megabytes": disk.free / 1e6,
    }


def gpu_load() -> dict[str, float]:
    """Return use, memory and power of each NVIDIA GPU; nothing where there is none or its driver does not answer."""
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", f"--query-gpu={','.join(_GPU_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return {}
    load: dict[str, float] = {}
    for index, line in enumerate(lines):
        busy, used, total, watts = (_number(text) for text in line.split(","))
        figures = {"utilization_percentage": busy, "memory_usage_megabytes": used, "power_usage_watts": watts}
        if used is not None and total:
            figures["memory_usage_percentage"] = 100 * used / total
        load |= {f"gpu_{index}_{name}": value for name, value in figures.items() if value is not None}
    return load


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None  # "[N/A]"
