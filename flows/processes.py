"""Steps in processes of their own that cost no imports: forked from a server that has imported what they need.

A server imports in the background from the start of a run, so that torch (4 s) and Great Expectations (8 s) are there when
their first step comes. Every step is a fork of it: a crash or an out-of-memory kill takes the step, never the flow; GPU
memory is given back; a step dies with the flow. `multiprocessing`'s own forkserver imports the caller's main module into every
child (Prefect, here), hides failed preloads and leaves children behind when the caller is killed.

Safe to fork: modules are only imported before the fork. No tensor operation, no CUDA call and no thread runs in the server;
OpenBLAS and Arrow, which start threads on import, reset them in a forked child themselves. Python 3.12 and later warn of
these threads at every fork; a user is spared that.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

from components.errors import DarkroomError
from components.stage_code import PACKAGE, State, source_state

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Request:
    """One step to run: `python -m components STEP OPTIONS`, or with no step the check of params.yaml as a whole."""

    step: str
    options: Sequence[str]
    journal: Path | None = None
    scratch: Path | None = None
    debug: bool = False


@dataclass(frozen=True)
class End:
    """How a step ended."""

    exit_code: int
    """As in `components.errors`; negative: the signal that killed it."""
    text: str = ""
    """What the step said about its failure."""


class ProcessServer:
    """A process that imports modules in the background and forks a child for every step.

    Args:
        project: The folder in which steps run, and whose `components` is imported if it has one.
        preload: Modules to import.
    """

    def __init__(self, project: Path, preload: Sequence[str]) -> None:
        self._project, self._preload = project, tuple(preload)
        self._process: subprocess.Popen[bytes] | None = None
        self._code: State = ()

    def start(self) -> None:
        """Start importing, unless that has begun; returns at once."""
        if self._process is not None and self._process.poll() is None:
            return
        ours, theirs = socket.socketpair()
        self._connection = Connection(ours.detach())
        self._code = _code_state(self._project)
        command = [sys.executable, "-m", "flows.processes", str(theirs.fileno()), *self._preload]
        # A session of its own: Ctrl-C reaches the flow alone, which passes it on once.
        self._process = subprocess.Popen(command, cwd=self._project, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)
        theirs.close()

    def run(self, request: Request, on_event: Callable[[str, Any], None]) -> End:
        """Run one step to its end.

        Args:
            request: The step.
            on_event: Called with ``("log", LogRecord)`` and ``("progress", (description, done, total, unit))``.

        Returns:
            How it ended. Code that was edited since it was imported is imported afresh first.

        Raises:
            KeyboardInterrupt: The step was interrupted, and ended.
        """
        if self._process is not None and self._code != _code_state(self._project):
            self.stop()
        self.start()
        text = ""
        try:
            with _Interrupts() as interrupts:
                for kind, value in self._told(request):
                    if kind == "started":
                        interrupts.pass_on_to(value)
                    elif kind == "failed":
                        text = value
                    elif kind == "end":
                        break
                    else:
                        on_event(kind, value)
                else:
                    return self._lost()
        except BaseException:  # of who listens; the step goes with its server, and the next one hears nothing of it
            self.stop()
            raise
        if interrupts.count:
            raise KeyboardInterrupt
        return End(value, text)

    def _told(self, request: Request) -> Iterator[tuple[str, Any]]:
        """Send a request and yield what is told of it, until the server is gone."""
        try:
            self._connection.send(request)
            while True:
                yield self._connection.recv()
        except (EOFError, OSError):
            return

    def _lost(self) -> End:
        code = self._process.wait() if self._process else 0
        self.stop()
        return End(code if code else -signal.SIGKILL, "its process server ended; the lines above say why")

    def stop(self) -> None:
        """End the server."""
        if self._process is None:
            return
        self._connection.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class _Interrupts:
    """While a step runs, Ctrl-C and termination go to the step: the first as SIGINT, so that it writes its checkpoint; the second kills it."""

    def __init__(self) -> None:
        self.count = 0
        self._pid = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._received) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_on_to(self, pid: int) -> None:
        self._pid = pid
        if self.count:
            self._send(signal.SIGINT)

    def _received(self, _signal: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self._pid:
            self._send(signal.SIGINT if self.count == 1 else signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it ended a moment ago, and what it told last is still being listened to
            os.kill(self._pid, number)


def _code_state(project: Path) -> State:
    """Return what tells whether a source file changed that a step in this folder imports."""
    own = project / "components"
    return source_state(own if (own / "__init__.py").exists() else PACKAGE)


def _serve(connection: Connection, preload: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _quiet()
    failed = ""
    try:
        importlib.import_module("components.__main__").let_threads_sleep()
        for module in preload:
            importlib.import_module(module)
    except Exception:  # whatever stops an import: told with the first request, which has somebody who listens
        failed = traceback.format_exc()
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # after the imports: some set filters of their own
    gc.collect()
    gc.freeze()  # the collector would touch, and so copy, every page that children share
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        if failed:
            if request.debug:
                print(failed, file=sys.stderr)
            connection.send(("failed", f"the code could not be imported: {failed.strip().splitlines()[-1]}"))
            connection.send(("end", 1))
            continue
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            _child(connection, request)
        connection.send(("end", _wait(pid, connection, wake_read)))


def _wait(pid: int, connection: Connection, wake: int) -> int:
    """Wait for the child; kill it if the flow is gone."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        ready, _, _ = select.select([connection, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
        elif connection in ready:  # nothing is sent while a step runs: this is the end of the flow
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            sys.exit(1)


def _child(connection: Connection, request: Request) -> NoReturn:
    code = 1
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _interrupt)
        connection.send(("started", os.getpid()))
        _report_to(connection)
        code = _run(connection, request)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if request.debug:
            traceback.print_exc()
        connection.send(("failed", f"a bug: {type(error).__name__}: {error}. The whole story: the same command with --debug"))
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the server's own exit handlers are not the child's to run


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _run(connection: Connection, request: Request) -> int:
    from components.__main__ import check_params, run_step
    from components.protocols import Context, NullTracker
    from components.tracking.journal import JournalTracker

    try:
        if not request.step:
            check_params(json.loads(request.options[0]))
            return 0
        tracker = JournalTracker(request.journal) if request.journal else NullTracker()
        run_step(request.step, request.options, Context(tracker=tracker, scratch=request.scratch))
    except DarkroomError as error:
        if request.debug:
            traceback.print_exc()
        connection.send(("failed", str(error)))
        return error.exit_code
    except SystemExit as error:  # argparse, on a wrong option in dvc.yaml
        return error.code if isinstance(error.code, int) else 1
    return 0


def _report_to(connection: Connection) -> None:
    """Show log lines here, where the progress bars are drawn, and send both to the flow."""
    from tqdm import tqdm

    from components import progress
    from flows.terminal import SHOWN, line

    class ToFlow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            record.msg, record.args = record.getMessage(), None
            record.exc_info = None
            tqdm.write(line(record), file=sys.stderr)
            setattr(record, SHOWN, True)
            connection.send(("log", record))

    root = logging.getLogger()
    root.handlers = [ToFlow()]
    root.setLevel(logging.WARNING)
    for name in ("components", "flows"):
        logging.getLogger(name).setLevel(logging.INFO)
    progress.listeners.append(lambda *state: connection.send(("progress", state)))


def _quiet() -> None:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])), sys.argv[2:])
