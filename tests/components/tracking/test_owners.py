import os
import subprocess
import sys

import psutil

from components.tracking.owners import lives


def test_a_process_that_ended_or_whose_number_another_has_does_not_live() -> None:
    started = psutil.Process().create_time()
    assert lives(os.getpid(), started)
    assert not lives(os.getpid(), started - 3600)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = psutil.Process(child.pid).create_time()
    assert lives(child.pid, born)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not lives(child.pid, born)  # dead, though nobody has asked after it yet
    child.communicate()
    assert not lives(child.pid, born)
