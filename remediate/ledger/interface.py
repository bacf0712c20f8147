"""What the remediator sees of a ledger: where remediations and their trail live, by compare-and-set.

Each commit is one atomic step on one remediation, so that a store with preconditions and no transactions can do it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from remediate.remediation import Remediation, State, TrailRecord


class Filter(msgspec.Struct, frozen=True):
    """Which remediations are wanted; what is None (or empty) does not matter."""

    states: tuple[State, ...] = ()
    repository: str | None = None
    """The resource name, or a part of it."""
    member: str | None = None
    """The member, or a part of it."""


class Ledger(Protocol):
    """Remediations, their trail, and which denials were counted already."""

    def get(self, remediation: str) -> Remediation | None:
        """The record with this id."""

    def named(self, prefix: str) -> list[Remediation]:
        """The records whose ids begin so; at most a handful, for abbreviated ids."""

    def counted(self, denial_key: str, remediation: str) -> bool:
        """Whether this denial was counted in this remediation."""

    def commit(self, record: Remediation, *, trail: Sequence[TrailRecord] = (), denial_key: str | None = None) -> None:
        """Store the record in place of the version before it, with its trail records and the denial it counts.

        All or nothing. Raises Conflict where the stored version is not `record.version - 1` (absent for 1), or the
        denial was counted already.
        """

    def find(self, wanted: Filter, *, limit: int = 100, after: Remediation | None = None) -> list[Remediation]:
        """The remediations that match, most recently seen first; `after` is the last one of the page before."""

    def ids(self) -> Iterator[str]:
        """The id of every remediation."""

    def trail(self, remediation: str | None = None) -> Iterator[TrailRecord]:
        """The trail records of one remediation, or of all, oldest first."""
