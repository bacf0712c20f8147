"""Where the policy in force comes from: a file or an object in Cloud Storage, looked at again at most once a minute.

A policy that can no longer be read, or is broken, leaves the one before in force, and says so loudly each time it is
looked at. At start there is none before, so a broken policy stops the start.
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
    """The rules of a policy file, reloaded as it changes. `events` learns what is wrong with a new one."""

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
        """The rules in force. One thread looks for newer ones, the others do not wait for it."""
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
        except Exception as error:  # whatever is wrong with a new one, the one before decides
            self._events.on_policy_error(f"the previous policy stays in force ({self._rules.digest}): {error}")
