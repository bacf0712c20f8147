"""A cache whose answers have an age."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")


class TimedCache(Generic[_Key, _Answer]):
    """Keeps each answer for `max_age` seconds of `clock`. It forgets all when it is full. Threads may share it."""

    def __init__(self, max_age: float, max_size: int, clock: Callable[[], float]) -> None:
        self._max_age, self._max_size, self._clock = max_age, max_size, clock
        self._lock = threading.Lock()
        self._answers: dict[_Key, tuple[float, _Answer]] = {}

    def get(
        self,
        key: _Key,
        look_up: Callable[[], _Answer],
        *,
        is_good: Callable[[_Answer], bool] = lambda _: True,
        also: Callable[[_Answer], Iterable[_Key]] = lambda _: (),
    ) -> _Answer:
        """The kept answer if it is good, else what `look_up` answers now. An answer that is not good is not kept.

        `also`: other keys that have the same answer. The age counts from before the look-up. Two threads may look up
        the same key at once. Raises what `look_up` raises.
        """
        now = self._clock()
        with self._lock:
            kept = self._answers.get(key)
        if kept and now - kept[0] < self._max_age and is_good(kept[1]):
            return kept[1]
        answer = look_up()
        if is_good(answer):
            with self._lock:
                for each in (key, *also(answer)):
                    self._keep(each, answer, now)
        return answer

    def forget(self, key: _Key) -> None:
        """Look this key up again the next time."""
        with self._lock:
            self._answers.pop(key, None)

    def _keep(self, key: _Key, answer: _Answer, at: float) -> None:
        if key not in self._answers and len(self._answers) >= self._max_size:
            self._answers.clear()
        self._answers[key] = (at, answer)
