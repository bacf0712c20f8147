"""One background thread per channel, and the bounded wait for them before an answer.

On Cloud Run with CPU during requests only, a thread stops with the last answer. So a request waits until the threads
have sent what it stored, for a short time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from remediate.records.delivery import DeliveryResult

LONGEST_WAIT = 2.0
"""Seconds that an answer waits for notices at most."""
PAUSE = timedelta(minutes=1)
"""How long no answer waits for a channel after a failed or late post."""

_Send = Callable[[Callable[[DeliveryResult], None]], None]


class Lanes:
    """The lanes of some channels. `work` sends what is due on one channel and passes on the result of each post."""

    def __init__(self, work: Mapping[str, _Send], clock: Callable[[], datetime]) -> None:
        self._lanes = [_Lane(name, send, clock) for name, send in work.items()]
        self._turn = threading.Lock()

    def flush(self) -> None:
        """Start to send what is due. Returns immediately."""
        for lane in self._lanes:
            lane.flush()

    def wait(self, seconds: float = LONGEST_WAIT) -> None:
        """Wait until everything that was flushed is sent, for at most so many seconds.

        One thread waits at a time, also for what the others flushed: the request of that thread keeps the CPU.
        """
        end = time.monotonic() + seconds
        while any(lane.is_busy() for lane in self._lanes) and time.monotonic() < end:
            if not self._turn.acquire(blocking=False):
                return
            try:
                for lane, arrived in [(lane, lane.arrived) for lane in self._lanes]:
                    lane.wait(end, arrived)
            finally:
                self._turn.release()  # then look again: another thread may have flushed and left it to this one


class _Lane:
    """A daemon thread that repeats its work after each flush; the first flush starts it.

    Not earlier: the server forks after the import of this module, and a thread does not survive a fork.
    """

    def __init__(self, name: str, work: _Send, clock: Callable[[], datetime]) -> None:
        self._name = name
        self._work = work
        self._now = clock
        self._changed = threading.Condition()
        self._is_wanted = self._is_working = False
        self.arrived = 0
        """Posts that arrived so far."""
        self._paused_until: datetime | None = None
        self._thread: threading.Thread | None = None

    def flush(self) -> None:
        with self._changed:
            self._is_wanted = True
            self._changed.notify_all()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True, name=f"notify-{self._name}")
                with suppress(RuntimeError):  # no thread available: the next notice, or a sweep, sends it
                    self._thread.start()

    def is_busy(self) -> bool:
        """Whether something is left to send, and the channel did not fail a short time ago."""
        with self._changed:
            return not self._is_paused() and not self._is_idle()

    def wait(self, end: float, arrived: int) -> None:
        """Wait until nothing is left to send, or the time is over; a lane where no more posts arrived then pauses."""
        if not self.is_busy():
            return
        with self._changed:
            self._changed.wait_for(lambda: self._is_idle() or self._is_paused(), max(0.0, end - time.monotonic()))
            if not self._is_idle() and self.arrived == arrived:
                self._pause()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_wanted)
                self._is_wanted, self._is_working = False, True
            try:
                self._work(self._heard)
            finally:  # no answer waits for a thread that ended
                with self._changed:
                    self._is_working = False
                    self._changed.notify_all()

    def _heard(self, result: DeliveryResult) -> None:
        with self._changed:
            if result.fault:
                self._pause()
                self._changed.notify_all()
            else:
                self.arrived += 1

    def _is_idle(self) -> bool:
        return not self._is_wanted and not self._is_working

    def _is_paused(self) -> bool:
        return self._paused_until is not None and self._now() < self._paused_until

    def _pause(self) -> None:
        self._paused_until = self._now() + PAUSE
