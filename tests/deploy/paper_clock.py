"""A clock for a stand-in cloud: time passes only when nobody has anything left to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUIET = 0.4
"""Real seconds without any call, after which whoever waits is let on. Terraform's own pauses between two calls are milliseconds."""
CALL = 0.1
"""Seconds that a call takes on this clock."""


class Clock:
    """`now` in seconds since the start. Every call to the cloud is `work`; a wait within it takes time on this clock alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self._changed = threading.Condition()
        self._busy = 0
        self._last = time.monotonic()
        self._due: list[float] = []

    @contextmanager
    def work(self) -> Iterator[None]:
        self._count(1)
        self.now += CALL
        try:
            yield
        finally:
            self._count(-1)

    def wait(self, seconds: float) -> None:
        """Return when all that others can do is done, and these seconds have passed."""
        due = self.now + seconds
        with self._changed:
            self._due.append(due)
        self._count(-1)
        with self._changed:
            while self.now < due:
                idle = time.monotonic() - self._last
                if self._busy == 0 and idle >= QUIET and due == min(self._due):
                    self.now = due
                else:
                    self._changed.wait(QUIET / 4)
            self._due.remove(due)
        self._count(1)

    def _count(self, step: int) -> None:
        with self._changed:
            self._busy += step
            self._last = time.monotonic()
            self._changed.notify_all()
