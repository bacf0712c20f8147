"""The port of the ledger, which stores remediations and their trails by compare-and-set.

Each commit is one atomic step on one remediation, so that a store with preconditions and without transactions can
implement it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from remediate.decisions.policy import Outcome
from remediate.errors import LedgerFault
from remediate.iam.member import Member, parse_member
from remediate.iam.repository import Repository
from remediate.records.modes import ModeChange, Modes
from remediate.records.outbox import OutboxMessage
from remediate.records.remediation import Remediation, TrailRecord
from remediate.records.states import State


class Filter(msgspec.Struct, frozen=True):
    """Selects remediations; a field that is None (or empty) selects all."""

    states: tuple[State, ...] = ()
    repository: str | None = None
    """The full resource name (`projects/...`), which an index serves, or a part of it, which needs a scan."""
    member: str | None = None
    """The full member (`user:...`), which an index serves, or a part of it, which needs a scan."""
    project: str | None = None
    """A part of the id or number of the deploying project, or of the repository's project."""
    search_text: tuple[str, ...] = ()
    """Texts that the record's `words` must all contain."""
    since: str | None = None
    """Last denied at this time or later, in the format of the records; an index serves it if the newest come first."""
    until: str | None = None
    """Last denied before this time."""
    gathered: str | None = None
    """Only the members of this group of a flood (`gathering.Group.name`); empty: only records without a group. An
    index serves it together with one state; other fields need a scan of the group."""

    def whole(self) -> dict[str, str]:
        """The fields that have full values, which an index serves."""
        return _whole(self.repository, self.member)

    def parts(self) -> tuple[str, ...]:
        """The texts that no index serves and that a record's `words` must contain, in lower case."""
        fields = {"repository": self.repository, "member": self.member}.items() - self.whole().items()
        wanted = (*(text for _, text in fields), self.project, *self.search_text)
        return tuple(sorted(text.casefold() for text in wanted if text))

    def matches(self, record: Remediation) -> bool:
        """Whether a record matches, apart from its state; parts match in any case."""
        pairs = (
            (record.repository, self.repository),
            (record.member, self.member),
            (" ".join(projects(record)), self.project),
            *((words(record), word) for word in self.search_text),
        )
        timely = (self.since or "") <= record.tally.last_seen and (
            not self.until or record.tally.last_seen < self.until
        )
        grouped = self.gathered is None or record.tally.gathered == self.gathered
        return timely and grouped and all(part is None or part.casefold() in text.casefold() for text, part in pairs)


class TrailFilter(msgspec.Struct, frozen=True):
    """Selects transitions; a field that is None (or empty) selects all. Parts match in any case."""

    since: str | None = None
    """At this time or later, in the format of the records; an index serves it."""
    until: str | None = None
    """Before this time."""
    actor: str | None = None
    repository: str | None = None
    member: str | None = None
    project: str | None = None
    """The deploying project, or the repository's project."""
    outcome: Outcome | None = None
    states: tuple[State, ...] = ()
    """Only transitions into these states."""

    def whole(self) -> dict[str, str]:
        """The fields that have full values, which an index serves."""
        return _whole(self.repository, self.member)

    def timeless(self) -> bool:
        """Whether it selects by time only."""
        return self == TrailFilter(self.since, self.until)

    def matches(self, step: TrailRecord) -> bool:
        """Whether a transition matches, apart from its time."""
        own = step.project if isinstance(step.project, str) else ""
        holder = Repository.parse(step.repository)
        pairs = (
            (step.actor, self.actor),
            (step.repository, self.repository),
            (step.member, self.member),
            (f"{own} {holder.project if holder else ''}", self.project),
        )
        said = self.outcome is None or step.outcome == self.outcome
        into = not self.states or step.after in self.states
        return said and into and all(part is None or part.casefold() in text.casefold() for text, part in pairs)


def with_next_version(record: Remediation) -> Remediation:
    """The record as a commit stores it."""
    version = record.storage.version + 1
    return msgspec.structs.replace(record, storage=msgspec.structs.replace(record.storage, version=version))


def ends(record: Remediation) -> str | None:
    """From when a sweep has to end the grant: its expiry, or at once if a removal is pending; None if it stays."""
    life = record.lifecycle
    if record.state is not State.GRANTED:
        return None
    return life.updated if life.ending else life.expires if life.added_by_us else None


def filed(record: Remediation) -> dict[str, str | int | None]:
    """The indexed fields of a record, by name, in every ledger."""
    return {
        "version": record.storage.version,
        "state": str(record.state),
        "repository": record.repository,
        "member": record.member,
        "last_seen": record.tally.last_seen,
        "updated": record.lifecycle.updated,
        "gathered": record.tally.gathered,
        "ends": ends(record),
    }


class Cursor(msgspec.Struct, frozen=True):
    """The end of a page, where the next one begins: a time, an id, and the sequence number of a transition."""

    at: str
    id: str
    seq: int = 0


class Page(msgspec.Struct, frozen=True):
    """A page of remediations. `more`: others follow, or may follow if one cannot be read."""

    records: list[Remediation]
    more: bool
    looked_at: int | None = None
    """How many records the scan read before it stopped; matches after them are missing. None: it read all."""
    damaged: Sequence[LedgerFault] = ()
    """The records that cannot be read; they may match."""

    def whole(self) -> list[Remediation]:
        """The records. Raises LedgerFault if one cannot be read."""
        for fault in self.damaged:
            raise fault
        return self.records


class TrailPage(msgspec.Struct, frozen=True):
    """A page of transitions, with the fields of `Page`."""

    steps: list[TrailRecord]
    more: bool
    looked_at: int | None = None
    damaged: Sequence[LedgerFault] = ()


def projects(record: Remediation) -> list[str]:
    """The projects of a record: the deploying ones, by id and number, and the repository's."""
    holder = Repository.parse(record.repository)
    named = [name for each in record.tally.deploys for name in (each.project, each.number) if name]
    return list(dict.fromkeys([*named, *([holder.project] if holder else [])]))


def words(record: Remediation) -> str:
    """The searched text of a record, in lower case: id, member, repository and projects."""
    return " ".join([record.id, record.member, record.repository, *projects(record)]).casefold()


def _whole(repository: str | None, member: str | None) -> dict[str, str]:
    whole = {}
    if repository and Repository.parse(repository):
        whole["repository"] = repository
    kind, colon, address = (member or "").partition(":")
    if colon and address == address.casefold() and isinstance(parse_member(f"{kind}:{address}"), Member):
        whole["member"] = f"{kind}:{address}"
    return whole


class Ledger(Protocol):
    """Stores remediations, their trails, and the keys of counted denials.

    Every read raises LedgerFault, which names the record, if a record cannot be read, except where a method says
    otherwise. Every method raises TransientFault if the ledger does not answer.
    """

    def get(self, remediation: str) -> Remediation | None:
        """The record with this id; None if there is none."""

    def by_id_prefix(self, prefix: str) -> list[Remediation]:
        """The records whose ids begin with this prefix, at most ten, to resolve abbreviated ids."""

    def is_counted(self, denial_key: str, remediation: str) -> bool:
        """Whether this remediation has counted this denial."""

    def commit(
        self,
        record: Remediation,
        *,
        trail: Sequence[TrailRecord] = (),
        denial_key: str | None = None,
        parcels: Sequence[OutboxMessage] = (),
    ) -> Remediation:
        """Replace the version of the record that was read, and return the record as stored, with the next version.

        Also stores its trail records, the denial that it counts, and the outbox messages about it, except those that
        exist already. All or nothing. Raises Conflict if the stored version is not `record.version` (0: none is
        stored), or if the denial was counted already.
        """

    def find(self, wanted: Filter, *, limit: int = 100, after: Remediation | None = None) -> list[Remediation]:
        """The remediations that match, most recently seen first; `after` is the last one of the previous page.

        Raises LedgerFault if one of the records read cannot be decoded.
        """

    def page(
        self, wanted: Filter, *, limit: int = 100, after: Cursor | None = None, longest_waiting: bool = False
    ) -> Page:
        """A page of matching remediations, most recently seen first; with `longest_waiting`, oldest change first.

        `after` marks the last one of the previous page: its `last_seen`, or its `updated`.
        """

    def counts(self, states: Sequence[State] = tuple(State), *, most: int | None = None) -> Mapping[State, int]:
        """The number of remediations in each of these states.

        With `most`, counting stops after `most + 1`, which limits its time: a result of `most + 1` means "more than
        `most`".
        """

    def groups(self, state: State | None, *, limit: int, most: int) -> Mapping[str, int]:
        """The groups of floods with remediations in this state (None: in any), the latest hour first.

        At most `limit` groups, each with its number of remediations; counting stops at `most + 1`.
        """

    def ids(self, states: Sequence[State] = ()) -> Iterator[str]:
        """The ids of all remediations, or of those in these states; decodes no record."""

    def due(self, now: str, unanswered_since: str) -> Iterator[str]:
        """The ids of remediations with something due, from indexes alone; decodes no record, and may repeat an id.

        These are all approvals, proposals without a transition since `unanswered_since`, and grants that end by `now`
        (`ends`).
        """

    def index_mismatches(self) -> Iterator[str]:
        """The ids of remediations whose indexed fields differ from their record: another state, name or time.

        `get` returns such a record, but filters miss it, so that a sweep may never expire it. Unreadable records are
        not included.
        """

    def damage(self) -> Iterator[str]:
        """Descriptions of damage in the store itself, not in its records; empty if it is intact."""

    def trail(self, remediation: str | None = None) -> Iterator[TrailRecord]:
        """The trail records of one remediation, or of all, oldest first."""

    def steps(self, wanted: TrailFilter, *, limit: int = 100, before: Cursor | None = None) -> TrailPage:
        """A page of matching transitions, newest first; `before` marks the last one of the previous page."""

    def acquire_slot(self, name: str, limit: int, holder: str) -> bool:
        """Take one of `limit` places with this name; a holder that has one keeps it. False if all are taken."""

    def acquire_lease(self, name: str, holder: str, now: str, until: str) -> bool:
        """Take the one lease with this name until that time, or extend one's own. False if another holder has it."""

    def release_lease(self, name: str, holder: str) -> None:
        """Give the lease back early; does nothing if another holder has it."""

    def modes(self) -> Modes:
        """The switches in force; empty if none was ever set."""

    def switch(self, modes: Modes, change: ModeChange) -> None:
        """Replace the previous version of the switches, and store the record of the change. All or nothing.

        Raises Conflict if the stored version is not `modes.version - 1`.
        """

    def mode_changes(self) -> Iterator[ModeChange]:
        """All changes of the switches, oldest first."""

    def enqueue(self, parcels: Sequence[OutboxMessage]) -> None:
        """Store these outbox messages, except those that exist. Raises Conflict if another process stores one now."""

    def waiting(self, channel: str, now: str, limit: int) -> list[OutboxMessage]:
        """The outbox messages for this channel that are due, the longest due first; skips unreadable ones."""

    def mark(self, parcel: OutboxMessage) -> None:
        """Replace the previous version of the message. Raises Conflict if another process changed it first."""
