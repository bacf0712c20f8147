"""What the remediator sees of a ledger: where remediations and their trail live, by compare-and-set.

Each commit is one atomic step on one remediation, so that a store with preconditions and no transactions can do it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from remediate.image import Repository
from remediate.modes import ModeChange, Modes
from remediate.notify.outbox import Parcel
from remediate.principal import Member, parse_member
from remediate.remediation import Remediation, State, TrailRecord


class Filter(msgspec.Struct, frozen=True):
    """Which remediations are wanted; what is None (or empty) does not matter."""

    states: tuple[State, ...] = ()
    repository: str | None = None
    """The whole resource name (`projects/...`), which an index serves, or a part of it, which has to be looked for."""
    member: str | None = None
    """The whole member (`user:...`), which an index serves, or a part of it."""

    def whole(self) -> dict[str, str]:
        """The fields that are wanted by their whole value."""
        whole = {}
        if self.repository and Repository.parse(self.repository):
            whole["repository"] = self.repository
        kind, colon, address = (self.member or "").partition(":")
        if colon and address == address.casefold() and isinstance(parse_member(f"{kind}:{address}"), Member):
            whole["member"] = f"{kind}:{address}"
        return whole

    def matches(self, record: Remediation) -> bool:
        """Whether a record has what is asked of repository and member; case does not matter in parts."""
        pairs = ((record.repository, self.repository), (record.member, self.member))
        return all(part is None or part.casefold() in text.casefold() for text, part in pairs)


class Ledger(Protocol):
    """Remediations, their trail, and which denials were counted already."""

    def get(self, remediation: str) -> Remediation | None:
        """The record with this id."""

    def named(self, prefix: str) -> list[Remediation]:
        """The records whose ids begin so; at most a handful, for abbreviated ids."""

    def counted(self, denial_key: str, remediation: str) -> bool:
        """Whether this denial was counted in this remediation."""

    def commit(
        self,
        record: Remediation,
        *,
        trail: Sequence[TrailRecord] = (),
        denial_key: str | None = None,
        parcels: Sequence[Parcel] = (),
    ) -> None:
        """Store the record in place of the version before it, with its trail records and the denial it counts.

        With them the parcels that tell of it, save those that are there already. All or nothing. Raises Conflict where
        the stored version is not `record.version - 1` (absent for 1), or the denial was counted already.
        """

    def find(self, wanted: Filter, *, limit: int = 100, after: Remediation | None = None) -> list[Remediation]:
        """The remediations that match, most recently seen first; `after` is the last one of the page before."""

    def ids(self) -> Iterator[str]:
        """The id of every remediation."""

    def trail(self, remediation: str | None = None) -> Iterator[TrailRecord]:
        """The trail records of one remediation, or of all, oldest first."""

    def recent(self, limit: int) -> list[TrailRecord]:
        """The last trail records of all remediations, newest first."""

    def take(self, name: str, limit: int, holder: str) -> bool:
        """Take one of `limit` places that go by this name; whoever holds one already keeps it. False: all are taken."""

    def modes(self) -> Modes:
        """The switches in force; an empty one where none was ever set."""

    def switch(self, modes: Modes, change: ModeChange) -> None:
        """Store the switches in place of the version before them, with the record of the change. All or nothing.

        Raises Conflict where the stored version is not `modes.version - 1`.
        """

    def mode_changes(self) -> Iterator[ModeChange]:
        """Every change of a switch, oldest first."""

    def enqueue(self, parcels: Sequence[Parcel]) -> None:
        """Store these parcels, save those that are there already. Raises Conflict where one was stored meanwhile."""

    def waiting(self, channel: str, now: str, limit: int) -> list[Parcel]:
        """The parcels for this channel that are due, the longest due first."""

    def mark(self, parcel: Parcel) -> None:
        """Store the parcel in place of the version before it. Raises Conflict where somebody else was faster."""
