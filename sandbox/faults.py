"""Turns a list of fault rules into what goes wrong with a request: late, refused, unanswered, or lost on the way."""

from __future__ import annotations

import re
import threading
from enum import StrEnum
from typing import Annotated

import msgspec


class Effect(StrEnum):
    """What a fault does to the request that it hits."""

    LATENCY = "latency"
    """The answer comes `seconds` late."""
    STATUS = "status"
    """The answer is Google's error of this `code`, 400 to 599; nothing is done."""
    TIMEOUT = "timeout"
    """No answer for `seconds`, then the connection is closed; nothing is done."""
    LOST_ANSWER = "lost_answer"
    """The request is carried out, and the connection is closed instead of an answer."""
    RACING_WRITER = "racing_writer"
    """Just before a SetIamPolicy is carried out, somebody else adds `member` to the same policy."""


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """Hits requests whose `METHOD /path` matches `match`: the `times` first (None: all) behind the first `after`."""

    match: str
    effect: Effect
    times: int | None = 1
    after: int = 0
    seconds: float = 1.0
    code: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503
    member: str = "user:ana@example.com"


class Faults:
    """The rules in force, and how often each was hit."""

    def __init__(self, rules: list[Fault]) -> None:
        self._lock = threading.Lock()
        self.replace(rules)

    def replace(self, rules: list[Fault]) -> None:
        """Put these rules in force; counting starts again. Raises ValueError for a pattern that is none."""
        try:
            compiled = [(re.compile(rule.match), rule) for rule in rules]
        except re.error as error:
            raise ValueError(f"match: {error}") from None
        with self._lock:
            self._rules = compiled
            self._seen = [0] * len(rules)

    def hit(self, method: str, path: str) -> list[Fault]:
        """The faults that this request runs into; counts it."""
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
