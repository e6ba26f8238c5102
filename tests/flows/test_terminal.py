from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from flows.terminal import doing

#: A terminal's own line is erased when what was on it is over.
ERASED = "\x1b[2K"


def test_in_a_log_it_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with doing("reading parameters"):
        assert capsys.readouterr().err == "reading parameters …\n"
    assert capsys.readouterr().err == ""


def test_at_a_terminal_a_spinner_comes_at_once_and_goes() -> None:
    ours, theirs = pty.openpty()
    code = "import logging; from flows.terminal import *; set_up(); log = logging.getLogger('flows.x')\n"
    code += "with doing('reading parameters'): log.info('[40] %s', 'images')\nsay('done')"
    environment = {**os.environ, "TERM": "xterm"}
    done = subprocess.run([sys.executable, "-c", code], stderr=theirs, env=environment, cwd=Path(__file__).parents[2], check=True)
    os.close(theirs)
    told = b""
    while len(told) < 65536:
        try:
            told += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert done.returncode == 0
    shown, _, after = told.decode().rpartition(ERASED)
    assert "reading parameters" in shown
    assert "    [40] images\r\n" in told.decode()
    assert "reading parameters" not in after
    assert after.endswith("done\r\n")
