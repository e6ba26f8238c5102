"""Progress on anything over two seconds: a bar at a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

log = logging.getLogger(__name__)

#: Called with (description, done, total, unit) a few times a second at most; flows set it to show progress in Prefect.
listeners: list[Callable[[str, int, int, str], None]] = []

_SHOWN_AFTER_S = 1.0
_LOG_EVERY_S = 30.0
_TELL_EVERY_S = 1.0


class Progress:
    """Counts what is done; made by `bar`."""

    def __init__(self, description: str, total: int, unit: str) -> None:
        terminal = sys.stderr.isatty()
        self._bar = tqdm(total=total, desc=description, unit=f" {unit}", delay=_SHOWN_AFTER_S, disable=not terminal, leave=False, dynamic_ncols=True)
        self._description, self._total, self._unit, self._done = description, total, unit, 0
        self._log_lines = not terminal
        self._started = self._logged = self._told = time.monotonic()

    def update(self, count: int = 1, **figures: float) -> None:
        """Count `count` more as done, and show the latest figures (loss, accuracy) beside the bar."""
        self._done += count
        self._bar.update(count)
        if figures:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()}, refresh=False)
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            for listener in listeners:
                listener(self._description, self._done, self._total, self._unit)
        if self._log_lines and now - self._logged >= _LOG_EVERY_S:
            self._logged = now
            rate = self._done / (now - self._started)
            left = (self._total - self._done) / rate if rate else float("inf")
            log.info("%s: %d of %d %s, %.0f %s/s, %.0f s left", self._description, self._done, self._total, self._unit, rate, self._unit, left)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


@contextmanager
def bar(description: str, total: int, unit: str = "images") -> Iterator[Progress]:
    """Show a progress bar while the block runs.

    Args:
        description: What is going on, for example ``"train epoch 3/20"``.
        total: How many units there are.
        unit: Plural name of what is counted.
    """
    progress = Progress(description, total, unit)
    try:
        yield progress
    finally:
        progress.close()
