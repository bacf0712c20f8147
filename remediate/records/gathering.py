"""Groups a flood of denials from one project, so that people see a bounded number of notices and inbox rows.

Pure. A proposal or refusal beyond the hourly limit gets the name of its group: the project and the hour. Its record is
complete, and reviewers can act on it as usual; notices and the inbox show the group in its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from remediate.entries.denial import Denial
from remediate.records.remediation import Remediation, TrailRecord
from remediate.records.states import State
from remediate.times import parse_time

UNKNOWN = "unknown"
"""The project name of denials without a project."""

_PROJECT = re.compile(r"[a-z0-9.:-]{1,130}\Z")
_NAME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2})/([a-z0-9.:-]{1,130})\Z")
_TOLD = (State.PROPOSED, State.REFUSED)
"""The states that a denial leads to and that send notices; grants by rules have their own rate limits."""


class Group(msgspec.Struct, frozen=True):
    """The proposals or refusals of one project in one clock hour beyond the limit."""

    begins: datetime
    project: str
    """The id; the number if the id is unknown; `unknown` without both."""

    @property
    def name(self) -> str:
        """The name that records store, the hour first: `2026-11-23T12/shop-frontend`."""
        return f"{self.begins:%Y-%m-%dT%H}/{self.project}"

    @property
    def ends(self) -> datetime:
        """When the next hour begins."""
        return self.begins + timedelta(hours=1)


def group_of(denial: Denial, now: datetime) -> Group:
    """The group of a denial beyond this hour's limit."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    project = denial.deploy.project or denial.deploy.number or UNKNOWN
    return Group(hour, project if _PROJECT.match(project) else UNKNOWN)


def group_named(name: str) -> Group | None:
    """The group with this name; None if it is not a group name."""
    match = _NAME.match(name)
    if match is None:
        return None
    try:
        return Group(parse_time(f"{match[1]}:00:00Z"), match[2])
    except ValueError:
        return None


def placed(
    record: Remediation,
    steps: Sequence[TrailRecord],
    denial: Denial,
    *,
    now: datetime,
    limit: int,
    acquire_slot: Callable[[str, int, str], bool],
) -> Remediation:
    """The record with its group, if a denial opens a proposal or refusal and all places of this hour are taken.

    `acquire_slot` is the ledger's. The holder of a place is the record with its cycle and state: a delivery that is
    handled again after a crash finds its own place, and each new cycle takes another one. A changed proposal takes
    none, because it sends no second notice.
    """
    if not steps or record.state not in _TOLD or steps[-1].before is record.state:
        return record
    group = group_of(denial, now)
    free = acquire_slot(f"{record.state} {group.name}", limit, f"{record.id}.{record.lifecycle.cycle}")
    gathered = "" if free else group.name
    return msgspec.structs.replace(record, tally=msgspec.structs.replace(record.tally, gathered=gathered))
