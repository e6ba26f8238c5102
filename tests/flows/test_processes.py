from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.processes import ProcessServer, Request
from tests.flows.conftest import ended

STEPS = {
    "talk": """
        import logging
        from components.progress import bar
        log = logging.getLogger("components.talk")
        def talk(word: str) -> None:
            with bar("talking", 4, "words") as progress:
                progress.update(4)
            log.info("said %s", word)
        """,
    "die": """
        import os, signal
        def die(how: str) -> None:
            os.kill(os.getpid(), getattr(signal, how))
        """,
    "refuse": """
        from components.errors import GateRefused
        def refuse() -> None:
            raise GateRefused("three images are damaged")
        """,
    "nap": """
        import time
        from pathlib import Path
        def nap(out: Path) -> None:
            try:
                out.write_text("asleep")
                time.sleep(600)
            except KeyboardInterrupt:
                out.write_text("woken")
                raise
        """,
    "threads": """
        import logging, os
        def threads() -> None:
            logging.getLogger("components.threads").info(os.environ["OMP_WAIT_POLICY"])
        """,
    "break_": """
        def break_() -> None:
            raise ZeroDivisionError("by zero")
        """,
}


@pytest.fixture
def server(code_project: Path) -> Iterator[ProcessServer]:
    for name, source in STEPS.items():
        (code_project / "components" / "steps" / f"{name}.py").write_text(textwrap.dedent(source))
    server = ProcessServer(code_project, ["components.__main__"])
    yield server
    server.stop()


def ignore(_kind: str, _value: Any) -> None:
    pass


def test_log_lines_and_the_code_of_the_project_reach_the_flow(server: ProcessServer) -> None:
    events: list[tuple[str, Any]] = []
    end = server.run(Request("talk", ["--word", "hello"]), lambda kind, value: events.append((kind, value)))
    assert end.exit_code == 0
    records = [value for kind, value in events if kind == "log"]
    assert [(record.levelno, record.getMessage()) for record in records] == [(logging.INFO, "said hello")]


@pytest.mark.parametrize(("chosen", "expected"), [("", "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_the_threads_of_a_step_sleep_while_they_wait_unless_the_user_has_chosen(
    server: ProcessServer, monkeypatch: pytest.MonkeyPatch, chosen: str, expected: str
) -> None:
    if chosen:
        monkeypatch.setenv("OMP_WAIT_POLICY", chosen)
    else:
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    said: list[str] = []
    assert server.run(Request("threads", []), lambda kind, value: said.append(value.getMessage()) if kind == "log" else None).exit_code == 0
    assert said == [expected]


@pytest.mark.parametrize(
    ("step", "options", "exit_code", "text"),
    [
        pytest.param("die", ["--how", "SIGKILL"], -signal.SIGKILL, "", id="killed"),
        pytest.param("die", ["--how", "SIGSEGV"], -signal.SIGSEGV, "", id="crashed"),
        pytest.param("refuse", [], 3, "three images are damaged", id="a gate"),
        pytest.param("break_", [], 1, "a bug: ZeroDivisionError: by zero. The whole story: the same command with --debug", id="a bug"),
        pytest.param("nothing", [], 2, "unknown step 'nothing'", id="no such step"),
    ],
)
def test_how_a_step_ended(server: ProcessServer, step: str, options: list[str], exit_code: int, text: str) -> None:
    end = server.run(Request(step, options), ignore)
    assert end.exit_code == exit_code
    assert end.text.startswith(text)
    assert server.run(Request("talk", ["--word", "still here"]), ignore).exit_code == 0


def test_code_that_was_edited_is_imported_afresh(server: ProcessServer, code_project: Path) -> None:
    words: list[str] = []

    def listen(kind: str, value: Any) -> None:
        if kind == "log":
            words.append(value.getMessage())

    server.run(Request("talk", ["--word", "once"]), listen)
    path = code_project / "components" / "steps" / "talk.py"
    path.write_text(path.read_text().replace("said", "shouted"))
    server.run(Request("talk", ["--word", "twice"]), listen)
    assert words == ["said once", "shouted twice"]


def test_a_thread_that_a_library_starts_on_import_is_not_told_of(code_project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """From Python 3.12 on, `os.fork` warns of every one."""
    (code_project / "components" / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    (code_project / "components" / "steps" / "talk.py").write_text(textwrap.dedent(STEPS["talk"]))
    server = ProcessServer(code_project, ["components.__main__", "components.threaded"])
    try:
        assert server.run(Request("talk", ["--word", "hello"]), ignore).exit_code == 0
    finally:
        server.stop()
    assert "fork" not in capfd.readouterr().err


def test_ctrl_c_when_the_step_has_just_ended(server: ProcessServer) -> None:
    """What it told last is still being listened to: nothing waits for a process that is no more."""

    def interrupt_late(kind: str, _value: Any) -> None:
        assert server._process is not None
        while kind == "log" and psutil.Process(server._process.pid).children():
            time.sleep(0.02)
        if kind == "log":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        server.run(Request("talk", ["--word", "hello"]), interrupt_late)
    assert server.run(Request("talk", ["--word", "still here"]), ignore).exit_code == 0


@pytest.mark.parametrize("error", [ConnectionRefusedError("a server is away"), KeyError("a bug")], ids=lambda error: type(error).__name__)
def test_what_goes_wrong_with_who_listens_is_not_taken_for_what_the_step_did(server: ProcessServer, error: Exception) -> None:
    def fail(_kind: str, _value: Any) -> None:
        raise error

    with pytest.raises(type(error)):
        server.run(Request("talk", ["--word", "hello"]), fail)
    assert server.run(Request("refuse", []), ignore).exit_code == 3


def test_an_interrupt_lets_the_step_end_tidily(server: ProcessServer, tmp_path: Path) -> None:
    out = tmp_path / "nap.txt"

    def interrupt() -> None:
        while not out.exists() or not out.read_text():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        server.run(Request("nap", ["--out", str(out)]), ignore)
    assert out.read_text() == "woken"


def test_a_step_dies_with_the_flow(server: ProcessServer, code_project: Path, tmp_path: Path) -> None:
    server.stop()
    out = tmp_path / "nap.txt"
    code = f"""
from pathlib import Path
from flows.processes import ProcessServer, Request
ProcessServer(Path({str(code_project)!r}), ["components.__main__"]).run(Request("nap", ["--out", {str(out)!r}]), lambda *_: None)
"""
    flow = subprocess.Popen([sys.executable, "-c", code])
    while not out.exists() or not out.read_text():
        assert flow.poll() is None
        time.sleep(0.02)
    family = psutil.Process(flow.pid).children(recursive=True)
    assert len(family) == 2
    flow.kill()
    flow.wait()
    assert all(ended(process) for process in family)
    assert out.read_text() == "asleep"
