"""A cache whose answers have an age."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")


class TimedCache(Generic[_Key, _Answer]):
    """Keeps each answer for `lasts` seconds of `clock`, and at most `most` answers. Threads may share it."""

    def __init__(self, lasts: float, most: int, clock: Callable[[], float]) -> None:
        self._lasts, self._most, self._clock = lasts, most, clock
        self._lock = threading.Lock()
        self._answers: dict[_Key, tuple[float, _Answer]] = {}

    def get(
        self, key: _Key, look_up: Callable[[], _Answer], is_good: Callable[[_Answer], bool] = lambda _: True
    ) -> _Answer:
        """The kept answer if it is good, else what `look_up` answers now. An answer that is not good is not kept.

        The age counts from before the look-up. Two threads may look up the same key at once. Raises what `look_up`
        raises.
        """
        now = self._clock()
        with self._lock:
            kept = self._answers.get(key)
        if kept and now - kept[0] < self._lasts and is_good(kept[1]):
            return kept[1]
        answer = look_up()
        if is_good(answer):
            self._keep(key, answer, now)
        return answer

    def put(self, key: _Key, answer: _Answer) -> None:
        """Keep an answer that another look-up gave."""
        self._keep(key, answer, self._clock())

    def _keep(self, key: _Key, answer: _Answer, at: float) -> None:
        with self._lock:
            if len(self._answers) >= self._most:
                self._answers.clear()
            self._answers[key] = (at, answer)
