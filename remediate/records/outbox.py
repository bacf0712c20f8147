"""Turns a notice into an outbox message for each channel, and moves the message through its delivery. Pure.

A message is stored in the same commit as its transition, and stays stored after delivery, so that no notice is sent
twice. An instance leases a message before it sends it, so that two instances do not both send it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from remediate.records.notice import Notice
from remediate.times import parse_time, to_rfc3339

LEASE = timedelta(minutes=2)
"""How long a lease lasts. If an instance dies after it sends and before it records that, the message is sent twice."""
FIRST_DELAY, LONGEST_DELAY = timedelta(minutes=1), timedelta(hours=1)
"""The wait between two attempts, which doubles from the first to the longest. `Retry-After` is obeyed up to a day."""
GIVEN_UP_AFTER = timedelta(days=3)
"""How long after its transition an undelivered message is given up. The pages and the trail show it anyway."""


class OutboxMessage(msgspec.Struct, frozen=True):
    """One notice for one channel. `version` counts the commits."""

    id: str
    channel: str
    notice: Notice
    due: str | None
    """When it may be sent next, or when its lease ends; None if it was delivered or given up."""
    attempts: int = 0
    delivered: str | None = None
    version: int = 1


def parcel(notice: Notice, channel: str, now: datetime) -> OutboxMessage:
    """The message that sends a notice to a channel now."""
    return OutboxMessage(f"{notice.id}.{channel}", channel, notice, to_rfc3339(now))


def leased(waiting: OutboxMessage, now: datetime) -> OutboxMessage:
    """The message with a lease: no other instance sends it until the lease ends."""
    return msgspec.structs.replace(
        waiting, due=to_rfc3339(now + LEASE), attempts=waiting.attempts + 1, version=waiting.version + 1
    )


def delivered(sent: OutboxMessage, now: datetime) -> OutboxMessage:
    """The message after its delivery."""
    return msgspec.structs.replace(sent, due=None, delivered=to_rfc3339(now), version=sent.version + 1)


def superseded(waiting: OutboxMessage) -> OutboxMessage:
    """The message as no longer needed: its question was decided before it was sent."""
    return msgspec.structs.replace(waiting, due=None, version=waiting.version + 1)


def deferred(waiting: OutboxMessage, now: datetime, after: timedelta | None) -> OutboxMessage:
    """The message, due `after` that time, because the channel asked to wait when it received another message."""
    due = to_rfc3339(now + min(after or timedelta(0), timedelta(days=1)))
    return msgspec.structs.replace(waiting, due=max(due, waiting.due or due), version=waiting.version + 1)


def retry_later(sent: OutboxMessage, now: datetime, after: timedelta | None) -> OutboxMessage:
    """The message after a failed attempt: due later, at the earliest `after` that time; or given up."""
    delay = min(FIRST_DELAY * 2 ** min(sent.attempts - 1, 16), LONGEST_DELAY)
    due = now + max(delay, min(after or delay, timedelta(days=1)))
    over = due > parse_time(sent.notice.at) + GIVEN_UP_AFTER
    return msgspec.structs.replace(sent, due=None if over else to_rfc3339(due), version=sent.version + 1)
