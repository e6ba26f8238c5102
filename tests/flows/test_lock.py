from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import TransientError
from flows import lock
from flows.lock import checkout_lock, refuse_if_locked

HOLD = """
import sys
from pathlib import Path
from flows.lock import checkout_lock
with checkout_lock(Path(sys.argv[1]), False):
    print("held", flush=True)
    sys.stdin.readline()
"""


def hold(project: Path) -> subprocess.Popen[str]:
    """Start a process that holds the lock until a line comes, or its end."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(project)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_with_the_first_ones_process(tmp_path: Path) -> None:
    owner = hold(tmp_path)
    try:
        for attempt in (lambda: checkout_lock(tmp_path, False).__enter__(), lambda: refuse_if_locked(tmp_path, False)):
            with pytest.raises(TransientError, match=rf"process {owner.pid}, since 20.*--wait") as caught:
                attempt()
            assert caught.value.exit_code == 75
    finally:
        owner.kill()
        owner.wait()


def test_the_lock_of_a_dead_owner_is_taken_over(tmp_path: Path) -> None:
    owner = hold(tmp_path)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    with checkout_lock(tmp_path, False), pytest.raises(TransientError, match=f"process {os.getpid()},"):
        hold_again(tmp_path)


def hold_again(project: Path) -> None:
    with checkout_lock(project, False):
        pass


def test_with_wait_the_second_follows_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    owner = hold(tmp_path)
    say = lock.say

    def say_and_let_go(text: str) -> None:
        say(text)
        assert owner.stdin is not None
        owner.stdin.close()

    monkeypatch.setattr(lock, "say", say_and_let_go)
    with checkout_lock(tmp_path, True):
        assert owner.wait(timeout=120) == 0
    assert f"waiting for process {owner.pid}" in capsys.readouterr().err
