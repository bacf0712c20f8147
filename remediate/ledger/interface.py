"""What the remediator sees of a ledger: where remediations and their trail live, by compare-and-set.

Each commit is one atomic step on one remediation, so that a store with preconditions and no transactions can do it.
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
from remediate.records.remediation import Remediation, State, TrailRecord


class Filter(msgspec.Struct, frozen=True):
    """Which remediations are wanted; what is None (or empty) does not matter."""

    states: tuple[State, ...] = ()
    repository: str | None = None
    """The whole resource name (`projects/...`), which an index serves, or a part of it, which has to be looked for."""
    member: str | None = None
    """The whole member (`user:...`), which an index serves, or a part of it."""
    project: str | None = None
    """A part of a project that was deployed to, or that holds the repository; id or number."""
    words: tuple[str, ...] = ()
    """What each has to stand somewhere in a record's `words`."""
    since: str | None = None
    """Last denied from this moment on, as records write it; an index serves it where the newest come first."""
    until: str | None = None
    """Last denied before this moment."""
    gathered: str | None = None
    """Only those of this group of a flood (`gathering.Group.name`); empty: only those that stand for themselves. An
    index serves it beside one state; whatever else is asked for is looked for among those."""

    def whole(self) -> dict[str, str]:
        """The fields that are wanted by their whole value."""
        return _whole(self.repository, self.member)

    def parts(self) -> tuple[str, ...]:
        """What no index serves and has to be looked for in a record's `words`, in small letters."""
        fields = {"repository": self.repository, "member": self.member}.items() - self.whole().items()
        wanted = (*(text for _, text in fields), self.project, *self.words)
        return tuple(sorted(text.casefold() for text in wanted if text))

    def matches(self, record: Remediation) -> bool:
        """Whether a record has what is asked of its texts; case does not matter in parts."""
        pairs = (
            (record.repository, self.repository),
            (record.member, self.member),
            (" ".join(projects(record)), self.project),
            *((words(record), word) for word in self.words),
        )
        timely = (self.since or "") <= record.last_seen and (not self.until or record.last_seen < self.until)
        grouped = self.gathered is None or record.gathered == self.gathered
        return timely and grouped and all(part is None or part.casefold() in text.casefold() for text, part in pairs)


class TrailFilter(msgspec.Struct, frozen=True):
    """Which transitions are wanted; what is None (or empty) does not matter. Parts match in any case."""

    since: str | None = None
    """From this moment on, as records write it; an index serves it."""
    until: str | None = None
    """Before this moment."""
    actor: str | None = None
    repository: str | None = None
    member: str | None = None
    project: str | None = None
    """Where the denied deploy went, or what holds the repository."""
    outcome: Outcome | None = None
    states: tuple[State, ...] = ()
    """Only transitions into these."""

    def whole(self) -> dict[str, str]:
        """The fields that are wanted by their whole value."""
        return _whole(self.repository, self.member)

    def timeless(self) -> bool:
        """Whether nothing but the time matters."""
        return self == TrailFilter(self.since, self.until)

    def matches(self, step: TrailRecord) -> bool:
        """Whether a transition is wanted; of its time the ledger takes care."""
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


def filed(record: Remediation) -> dict[str, str | int]:
    """What a record is found by, by the name of the field: each ledger files it so."""
    return {
        "version": record.version,
        "state": str(record.state),
        "repository": record.repository,
        "member": record.member,
        "last_seen": record.last_seen,
        "updated": record.updated,
        "gathered": record.gathered,
    }


class Cursor(msgspec.Struct, frozen=True):
    """Where a page ended, so that the next one begins behind it: a moment, an id, and a transition's number."""

    at: str
    id: str
    seq: int = 0


class Page(msgspec.Struct, frozen=True):
    """A page of remediations. `more`: others follow, or may where one could not be read."""

    records: list[Remediation]
    more: bool
    looked_at: int | None = None
    """How many were looked at, where that was not all: what matches further on was not found. None: all were."""
    damaged: Sequence[LedgerFault] = ()
    """Those among them that cannot be read: whether they match is not known."""

    def whole(self) -> list[Remediation]:
        """The records. Raises LedgerFault where one cannot be read."""
        for fault in self.damaged:
            raise fault
        return self.records


class TrailPage(msgspec.Struct, frozen=True):
    """A page of transitions, as `Page` is one of remediations."""

    steps: list[TrailRecord]
    more: bool
    looked_at: int | None = None
    damaged: Sequence[LedgerFault] = ()


def projects(record: Remediation) -> list[str]:
    """The projects that a record is about: deployed to, by id and number, and the one that holds the repository."""
    holder = Repository.parse(record.repository)
    named = [name for each in record.deploys for name in (each.project, each.number) if name]
    return list(dict.fromkeys([*named, *([holder.project] if holder else [])]))


def words(record: Remediation) -> str:
    """What a record is found by, in small letters: id, member, repository and projects."""
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
    """Remediations, their trail, and which denials were counted already.

    Whatever reads raises LedgerFault where it cannot read a record, and names it, save where a page or an iterator says
    what else it does with one; TransientFault where the ledger does not answer.
    """

    def get(self, remediation: str) -> Remediation | None:
        """The record with this id."""

    def named(self, prefix: str) -> list[Remediation]:
        """The records whose ids begin so; at most a handful, for abbreviated ids."""

    def is_counted(self, denial_key: str, remediation: str) -> bool:
        """Whether this denial was counted in this remediation."""

    def commit(
        self,
        record: Remediation,
        *,
        trail: Sequence[TrailRecord] = (),
        denial_key: str | None = None,
        parcels: Sequence[OutboxMessage] = (),
    ) -> None:
        """Store the record in place of the version before it, with its trail records and the denial it counts.

        With them the parcels that tell of it, save those that are there already. All or nothing. Raises Conflict where
        the stored version is not `record.version - 1` (absent for 1), or the denial was counted already.
        """

    def find(self, wanted: Filter, *, limit: int = 100, after: Remediation | None = None) -> list[Remediation]:
        """The remediations that match, most recently seen first; `after` is the last one of the page before.

        Raises LedgerFault where one on the way cannot be read.
        """

    def look(
        self, wanted: Filter, *, limit: int = 100, after: Cursor | None = None, longest_waiting: bool = False
    ) -> Page:
        """A page of those that match, most recently seen first, or `longest_waiting` first: by their last change.

        `after` marks the last one of the page before: its `last_seen`, or its `updated`.
        """

    def counts(self, states: Sequence[State] = tuple(State), *, most: int | None = None) -> Mapping[State, int]:
        """How many remediations there are in each of these states.

        With `most`, counting ends behind it, so that it takes no longer the more there are: one more than `most` means
        more than that.
        """

    def groups(self, state: State | None, *, limit: int, most: int) -> Mapping[str, int]:
        """The groups of floods that have remediations in this state (None: in any), the latest hour first.

        At most `limit`, each with how many there are; counting ends at one more than `most`.
        """

    def ids(self, states: Sequence[State] = ()) -> Iterator[str]:
        """The id of every remediation, or of every one in these states; no record is read for it."""

    def index_mismatches(self) -> Iterator[str]:
        """The ids of those that are filed under another state, name or time than their record says.

        Such a one is looked up by its id as ever, and found by no filter: no sweep would end it. Those that cannot be
        read are not among them.
        """

    def damage(self) -> Iterator[str]:
        """What is damaged or missing in the store itself, beneath the records, in words; nothing where it is whole."""

    def trail(self, remediation: str | None = None) -> Iterator[TrailRecord]:
        """The trail records of one remediation, or of all, oldest first."""

    def steps(self, wanted: TrailFilter, *, limit: int = 100, before: Cursor | None = None) -> TrailPage:
        """A page of the transitions that match, newest first; `before` marks the last one of the page before."""

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

    def enqueue(self, parcels: Sequence[OutboxMessage]) -> None:
        """Store these parcels, save those that are there already. Raises Conflict where one was stored meanwhile."""

    def waiting(self, channel: str, now: str, limit: int) -> list[OutboxMessage]:
        """The parcels for this channel that are due, the longest due first; one that cannot be read stops no other."""

    def mark(self, parcel: OutboxMessage) -> None:
        """Store the parcel in place of the version before it. Raises Conflict where somebody else was faster."""
