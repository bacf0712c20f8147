"""Joins the denials of an export with their calls, in any order of entries."""

from __future__ import annotations

from remediate.entries.denial import Denial
from remediate.entries.joining import Call, join_call

_RECENT = 10_000  # operations without a denial so far; a sorted export has an operation's entries minutes apart
_MOST = 20  # calls kept for one operation; it has one or two


class Pairing:
    """Keeps the calls that denials wait for, and the most recent others. Memory grows only with the denials."""

    def __init__(self) -> None:
        self._wanted: dict[str, list[Call]] = {}
        self._recent: dict[str, list[Call]] = {}

    def note(self, call: Call) -> None:
        """Keep a call. Drops the oldest operation that no denial waits for if there are too many."""
        for operation in call.operations:
            calls = self._wanted.get(operation)
            if calls is None:
                calls = self._recent.setdefault(operation, [])
                if len(self._recent) > _RECENT:
                    del self._recent[next(iter(self._recent))]
            if len(calls) < _MOST:
                calls.append(call)

    def want(self, operation: str) -> None:
        """Keep the calls of this operation, earlier and later ones: a denial waits for them."""
        if operation not in self._wanted:
            self._wanted[operation] = self._recent.pop(operation, [])

    def join(self, denial: Denial) -> Denial:
        """The denial joined with its operation's call. Call this after the whole export was read."""
        return join_call(denial, self._wanted.get(denial.operation or "", []))
