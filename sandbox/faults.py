"""Injects faults into requests by a list of rules: a late, refused, missing or lost answer, or a racing writer."""

from __future__ import annotations

import re
import threading
from enum import StrEnum
from typing import Annotated

import msgspec


class Effect(StrEnum):
    """The effect of a fault on a request."""

    LATENCY = "latency"
    """The answer comes `seconds` late."""
    STATUS = "status"
    """The answer is Google's error with this `code`, 400 to 599; the request changes nothing."""
    PERIMETER = "perimeter"
    """The answer is the 403 of a perimeter of VPC Service Controls; the request changes nothing."""
    TIMEOUT = "timeout"
    """No answer for `seconds`, then the sandbox closes the connection; the request changes nothing."""
    LOST_ANSWER = "lost_answer"
    """The sandbox carries out the request and closes the connection without an answer."""
    RACING_WRITER = "racing_writer"
    """Just before a SetIamPolicy, another writer adds `member` to the same policy."""


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """Affects requests whose `METHOD /path` matches `match`: after the first `after`, the next `times` (None: all)."""

    match: str
    effect: Effect
    times: int | None = 1
    after: int = 0
    seconds: float = 1.0
    code: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503
    member: str = "user:ana@example.com"


class Faults:
    """The active rules, and how many requests matched each."""

    def __init__(self, rules: list[Fault]) -> None:
        self._lock = threading.Lock()
        self.replace(rules)

    def replace(self, rules: list[Fault]) -> None:
        """Replace the active rules and reset the counts. Raises ValueError for an invalid pattern."""
        try:
            compiled = [(re.compile(rule.match), rule) for rule in rules]
        except re.error as error:
            raise ValueError(f"match: {error}") from None
        with self._lock:
            self._rules = compiled
            self._seen = [0] * len(rules)

    def hit(self, method: str, path: str) -> list[Fault]:
        """The faults that affect this request. Counts the request."""
        hits = []
        with self._lock:
            for index, (pattern, rule) in enumerate(self._rules):
                if pattern.search(f"{method} {path}"):
                    seen = self._seen[index] = self._seen[index] + 1
                    if seen > rule.after and (rule.times is None or seen <= rule.after + rule.times):
                        hits.append(rule)
        return hits

    @property
    def rules(self) -> list[Fault]:
        return [rule for _, rule in self._rules]
