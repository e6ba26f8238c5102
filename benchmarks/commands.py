"""What a person waits for: `--help`, and seven stages that do nothing, through the adapter that `retrain` uses."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks.checkout import BIN, median_run, run
from benchmarks.rows import Row

NUM_STAGES = 7
HELP_S = 0.3
FLOW_S = 5.0


def rows() -> list[Row]:
    """Measure both."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        help_s = median_run(project, "darkroom", "--help", repeats=9)
        return [
            Row("`darkroom --help`", f"{help_s:.2f} s", f"{HELP_S} s", HELP_S / help_s, help_s <= HELP_S, "median of 9, process start included"),
            flow_cost(project),
        ]


def flow_cost(project: Path) -> Row:
    """Measure a run of stages that do nothing against `dvc repro` of the same, in turn, servers up."""
    write_idle_project(project)
    run(project, "darkroom", "up", "--prefect-port", "4261", "--mlflow-port", "5061")
    try:
        ours, dvc = [], []
        for trial in range(4):
            for times, command in ((ours, ("darkroom", "run", "--until", f"idle{NUM_STAGES}")), (dvc, ("dvc", "repro"))):
                (project / "start.txt").write_text(f"{trial} {command[0]}\n")
                times.append(run(project, *command))
        flow_s, dvc_s = statistics.median(ours[1:]), statistics.median(dvc[1:])
    finally:
        run(project, "darkroom", "down")
    measured = f"{flow_s:.1f} s; `dvc repro` of the same {dvc_s:.1f} s"
    return Row(
        "the flow's own cost: seven stages that do nothing", measured, f"{FLOW_S:.0f} s", FLOW_S / flow_s, flow_s <= FLOW_S, "servers up; median of 3"
    )


def write_idle_project(project: Path) -> None:
    """Make a repository of stages that copy a line of text one after another."""
    lines = ["stages:"]
    for number in range(1, NUM_STAGES + 1):
        source = f"out{number - 1}.txt" if number > 1 else "start.txt"
        lines += [f"  idle{number}:", f"    cmd: cp {source} out{number}.txt", f"    deps: [{source}]", f"    outs: [out{number}.txt]"]
    (project / "dvc.yaml").write_text("\n".join(lines) + "\n")
    (project / "params.yaml").write_text("data: {name: none}\n")
    (project / "start.txt").write_text("start\n")
    for command in (["git", "init", "--quiet"], [str(BIN / "dvc"), "init", "--quiet"]):
        subprocess.run(command, cwd=project, check=True)
