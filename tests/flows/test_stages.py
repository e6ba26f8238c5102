import os
import subprocess
import sys

ATTEMPT = """
from flows.stages import run_task

def attempt():
    raise KeyError("what went wrong")

run_task("register", attempt)
"""


def test_prefect_does_not_keep_a_bug_to_itself(prefect_api: str) -> None:
    environment = {**os.environ, "PREFECT_API_URL": prefect_api}
    done = subprocess.run([sys.executable, "-c", ATTEMPT], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "KeyError: 'what went wrong'"
