import subprocess
from collections.abc import Callable
from pathlib import Path

Darkroom = Callable[..., subprocess.CompletedProcess[str]]


def test_a_record_that_cannot_be_read_stops_no_run_and_what_stops_one_is_told(project: Path, darkroom: Darkroom) -> None:
    folder = project / ".darkroom" / "flow-runs"
    folder.parent.mkdir()
    folder.write_text("a file where the records are to be")
    stopped = darkroom("run", cwd=project)
    assert stopped.returncode == 1
    assert stopped.stderr.count("darkroom: a bug: FileExistsError") == 1

    folder.unlink()
    folder.mkdir()
    (folder / "broken.json").write_text("")  # the machine lost its power
    done = darkroom("run", "--until", "first", cwd=project)
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir())
