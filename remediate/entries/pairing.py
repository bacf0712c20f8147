"""Turns the denials and the calls of an export, in whatever order they come, into denials joined with their calls."""

from __future__ import annotations

from remediate.entries.denial import Denial
from remediate.entries.joining import Call, join_call

_RECENT = 10_000  # operations whose denial has not come; an operation's entries lie minutes apart in a sorted export
_MOST = 20  # calls of one operation; it has one or two


class Pairing:
    """Keeps the calls that a denial waits for, and the most recent others: memory grows with denials alone."""

    def __init__(self) -> None:
        self._wanted: dict[str, list[Call]] = {}
        self._recent: dict[str, list[Call]] = {}

    def note(self, call: Call) -> None:
        """A call of the export. The oldest that no denial waits for is forgotten."""
        for operation in call.operations:
            calls = self._wanted.get(operation)
            if calls is None:
                calls = self._recent.setdefault(operation, [])
                if len(self._recent) > _RECENT:
                    del self._recent[next(iter(self._recent))]
            if len(calls) < _MOST:
                calls.append(call)

    def want(self, operation: str) -> None:
        """A denial waits for the calls of this operation: those that came before it, and those still to come."""
        if operation not in self._wanted:
            self._wanted[operation] = self._recent.pop(operation, [])

    def join(self, denial: Denial) -> Denial:
        """The denial with the call of its operation, once the whole export was read."""
        return join_call(denial, self._wanted.get(denial.operation or "", []))
