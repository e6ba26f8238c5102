"""What a stage resumes from outlives everything but its record."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flows.scratch import forget, scratch

HOLD = """
import sys
from pathlib import Path
from flows.scratch import scratch
with scratch(Path(sys.argv[1]), "train", sys.argv[2]) as folder:
    print(folder, flush=True)
    sys.stdin.readline()
"""


def hold(home: Path, digest: str) -> tuple[subprocess.Popen[str], Path]:
    """Start a run that works with a folder until a line comes."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(home), digest], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_is_the_same_for_the_same_inputs_until_they_are_on_record(tmp_path: Path) -> None:
    with scratch(tmp_path, "train", "a" * 64) as first:
        (first / "checkpoint").touch()
    with scratch(tmp_path, "train", "b" * 64) as other, scratch(tmp_path, "train", "a" * 64) as again:
        assert other != first == again
        assert (again / "checkpoint").exists()
        forget(again)
        forget(other)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_oldest_of_more_than_ten_go_but_none_that_a_run_works_with(tmp_path: Path) -> None:
    process, held = hold(tmp_path, "held")
    os.utime(held, (0, 0))
    for number in range(12):
        with scratch(tmp_path, "train", f"{number:02d}") as folder:
            os.utime(folder, (1 + number, 1 + number))
    process.communicate("\n")
    left = {path.name for path in (tmp_path / "scratch").iterdir()}
    names = {"train-held", *(f"train-{number:02d}" for number in range(2, 12))}
    assert left == names | {f"{name}.lock" for name in names}


def test_two_runs_that_train_the_very_same_do_not_share_it(tmp_path: Path) -> None:
    process, held = hold(tmp_path, "same")
    with scratch(tmp_path, "train", "same") as ours:
        assert ours != held
        forget(ours)
    process.communicate("\n")
    assert held.is_dir()
