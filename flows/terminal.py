"""What a person sees while a run goes on: our own lines, and nobody else's below a warning."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

SHOWN = "darkroom_shown"
"""Attribute of a log record that a step's process has shown already."""

_NOISY = ("alembic", "mlflow", "great_expectations", "prefect", "httpx", "dvc", "dvc_data", "dvc_objects", "torch.onnx", "onnxscript", "matplotlib")


def line(record: logging.LogRecord) -> str:
    """Return a log record as it stands under its stage."""
    mark = {logging.WARNING: "warning: ", logging.ERROR: "error: ", logging.CRITICAL: "error: "}.get(record.levelno, "")
    return f"    {mark}{record.getMessage()}"


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, SHOWN):
            print(line(record), file=sys.stderr, flush=True)


def set_up() -> None:
    """Show the lines of Darkroom, and errors of the libraries; call before they are imported."""
    for name, value in {
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "TQDM_MININTERVAL": "0.2",
    }.items():
        os.environ.setdefault(name, value)
    for name in ("components", "flows"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        if not any(isinstance(handler, _Lines) for handler in logger.handlers):
            logger.addHandler(_Lines())
        logger.propagate = False
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)


def say(text: str = "") -> None:
    """Print one line of the run's own account, to the terminal's error stream as logs are."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def doing(text: str) -> Iterator[None]:
    """Say at once what goes on while the block runs: at a terminal by a spinner, which goes when it is done, else by a line."""
    if not sys.stderr.isatty():
        say(f"{text} …")
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def only_answers() -> None:
    """Leave out the log: a command that answers says itself what it did, and the log would say it again."""
    logging.getLogger("components").setLevel(logging.WARNING)
