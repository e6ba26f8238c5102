"""The demo in a fresh clone, and `darkroom run` after it with nothing changed."""

from __future__ import annotations

import re
import statistics
import subprocess

from benchmarks.checkout import BIN, clone, environment, run
from benchmarks.rows import Row

FIRST_ACT_S, ALL_ACTS_S, UNCHANGED_S = 90, 180, 10


def rows() -> list[Row]:
    """Measure the acts as the demo itself counts them, and a run with nothing to do, servers up."""
    with clone() as project:
        done = subprocess.run([str(BIN / "darkroom"), "demo"], cwd=project, env=environment(project), check=True, capture_output=True, text=True)
        told = done.stdout + done.stderr
        first = float(re.findall(r"Act 1 took (\d+)", told)[0])
        all_three = float(re.findall(r"Three acts in (\d+)", told)[0])
        run(project, "darkroom", "up", "--prefect-port", "4262", "--mlflow-port", "5062")
        run(project, "darkroom", "run")
        unchanged = statistics.median(run(project, "darkroom", "run") for _ in range(3))
    return [
        Row("`make demo` after set-up, first act", f"{first:.0f} s", f"{FIRST_ACT_S} s", FIRST_ACT_S / first, first <= FIRST_ACT_S, "nothing cached"),
        Row("`make demo` after set-up, all three", f"{all_three:.0f} s", f"{ALL_ACTS_S} s", ALL_ACTS_S / all_three, all_three <= ALL_ACTS_S),
        Row(
            "`darkroom run` with nothing changed",
            f"{unchanged:.1f} s",
            f"{UNCHANGED_S} s",
            UNCHANGED_S / unchanged,
            unchanged <= UNCHANGED_S,
            "servers up",
        ),
    ]
