"""Turns a flood of denials from one project into a bounded number of things that people look at, one by one.

Pure. A proposal or refusal beyond the hour's limit is marked with the name of its group: the project and the hour. Its
record is complete and everything can be done with it; notices and the inbox show the group in its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from remediate.entries.denial import Denial
from remediate.records.remediation import Remediation, State, TrailRecord

UNKNOWN = "unknown"
"""The project of denials that name none."""

_PROJECT = re.compile(r"[a-z0-9.:-]{1,130}\Z")
_NAME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2})/([a-z0-9.:-]{1,130})\Z")
_TOLD = (State.PROPOSED, State.REFUSED)
"""The states that a denial leads to and that people are told of; grants by rules have limits of their own."""


class Group(msgspec.Struct, frozen=True):
    """What one project was denied in one hour of the clock, beyond the limit."""

    begins: datetime
    project: str
    """An id; a number where no id is known; `unknown` where neither is."""

    @property
    def name(self) -> str:
        """As records carry it, the hour first: `2026-11-23T12/shop-frontend`."""
        return f"{self.begins:%Y-%m-%dT%H}/{self.project}"

    @property
    def ends(self) -> datetime:
        """When the next hour begins."""
        return self.begins + timedelta(hours=1)


def group_of(denial: Denial, now: datetime) -> Group:
    """The group that a denial belongs to where this hour's places are taken."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    project = denial.deploy.project or denial.deploy.number or UNKNOWN
    return Group(hour, project if _PROJECT.match(project) else UNKNOWN)


def group_named(name: str) -> Group | None:
    """The group with this name; None for what is not the name of one."""
    match = _NAME.match(name)
    if match is None:
        return None
    try:
        return Group(datetime.fromisoformat(f"{match[1]}:00:00+00:00"), match[2])
    except ValueError:
        return None


def placed(
    record: Remediation,
    steps: Sequence[TrailRecord],
    denial: Denial,
    *,
    now: datetime,
    limit: int,
    take: Callable[[str, int, str], bool],
) -> Remediation:
    """The record with its group where a denial's steps end in a proposal or refusal and the hour's places are taken.

    `take` is the ledger's. A place is held by the record, its cycle and its state: a delivery that is handled again
    after a crash finds its own place, and a record that is opened again and again takes one each time. A renewed
    proposal takes none, as people are not told of it again.
    """
    if not steps or record.state not in _TOLD or steps[-1].before is record.state:
        return record
    group = group_of(denial, now)
    free = take(f"{record.state} {group.name}", limit, f"{record.id}.{record.cycle}")
    return msgspec.structs.replace(record, gathered="" if free else group.name)
