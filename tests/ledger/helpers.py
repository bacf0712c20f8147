"""First records, and their notices."""

from __future__ import annotations

from datetime import UTC, datetime

from remediate.decisions.policy import Mode, decide
from remediate.entries.denial import Denial
from remediate.records import notice as notices
from remediate.records.lifecycle import open_remediation
from remediate.records.modes import ModeChange, Modes, switched
from remediate.records.outbox import OutboxMessage, parcel
from remediate.records.remediation import Remediation, TrailRecord
from remediate.records.states import State
from tests.audit_entries import activity, denial

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def first(number: int = 0, at: datetime = NOON) -> tuple[Remediation, TrailRecord]:
    found = denied(number, at)
    return open_remediation(found, decide(found), State.PROPOSED, actor="remediate", now=at)


def denied(number: int = 0, at: datetime = NOON) -> Denial:
    entry = activity(email=f"deployer-{number}@example.com", insert_id=str(number))
    return denial(entry | {"timestamp": at.isoformat()})


def switched_alone(
    modes: Modes, scope: str, mode: Mode, *, actor: str = "user:a@example.com", note: str = ""
) -> tuple[Modes, ModeChange]:
    """The switches once somebody who needs no second person sets another mode, and the record of it."""
    found = switched(modes, scope, mode, actor=actor, now=NOON, note=note, alone=True)
    assert found
    return found


def told(number: int, channel: str = "slack", at: datetime = NOON) -> OutboxMessage:
    """The parcel of a proposal."""
    record, trail = first(number)
    notice = notices.notice_for(record, [trail], notices.NoticeContext(), lambda _: None)
    assert notice
    return parcel(notice, channel, at)
