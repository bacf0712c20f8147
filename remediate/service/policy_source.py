"""The source of the policy in force: a file or an object in Cloud Storage, read again at most once a minute.

If a new policy is invalid or unreadable, the previous one stays in force, and each read reports the error. At start
there is no previous policy, so the error stops the start.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from remediate.cloud.storage import read_policy
from remediate.decisions.policy import Rules
from remediate.decisions.policy_file import parse_policy
from remediate.records.events import Events

_FRESH = 60.0  # seconds


class PolicySource:
    """The rules of a policy file, reloaded when it changes. Reports an error in a new one to `events`."""

    def __init__(
        self,
        place: str,
        events: Events,
        *,
        endpoint: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._events = events
        self._endpoint = endpoint
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._text = read_policy(place, endpoint)
        self._rules: Rules = parse_policy(self._text, place)
        self._looked = monotonic()

    def __call__(self) -> Rules:
        """The rules in force. One thread reads newer ones; the others do not wait for it."""
        if self._monotonic() - self._looked >= _FRESH and self._lock.acquire(blocking=False):
            try:
                self._looked = self._monotonic()
                self._look()
            finally:
                self._lock.release()
        return self._rules

    def _look(self) -> None:
        try:
            text = read_policy(self._place, self._endpoint)
            if text != self._text:
                self._rules, self._text = parse_policy(text, self._place), text
        except Exception as error:  # after any error the previous rules stay in force
            self._events.on_policy_error(f"the previous policy stays in force ({self._rules.digest}): {error}")
