"""Turns a notice into a parcel for each channel, and a parcel into the next thing that is to happen with it. Pure.

Parcels are stored in the same step as what they tell of, and kept when they are delivered: what was told once is not
told again. Whoever sends one first claims it for a while, so that two instances do not send it both.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from remediate.records.notice import Notice
from remediate.times import instant

LEASE = timedelta(minutes=2)
"""How long a claim stands. Who claimed and died between sending and saying so has the parcel sent a second time."""
FIRST_DELAY, LONGEST_DELAY = timedelta(minutes=1), timedelta(hours=1)
"""Between two attempts; it doubles in between. A receiver's own `Retry-After` is kept to, up to a day."""
GIVEN_UP_AFTER = timedelta(days=3)
"""After what it tells of: by then the pages and the trail have told everybody who looks."""


class OutboxMessage(msgspec.Struct, frozen=True):
    """One notice on its way to one channel. `version` counts its commits, as a remediation's does."""

    id: str
    channel: str
    notice: Notice
    due: str | None
    """When it may next be sent, or the end of a claim; None where it was delivered, or given up."""
    attempts: int = 0
    delivered: str | None = None
    version: int = 1


def parcel(notice: Notice, channel: str, now: datetime) -> OutboxMessage:
    """A notice that is to go out on a channel at once."""
    return OutboxMessage(f"{notice.id}.{channel}", channel, notice, instant(now))


def leased(waiting: OutboxMessage, now: datetime) -> OutboxMessage:
    """The parcel as one that is being sent: nobody else's until the lease is over."""
    return msgspec.structs.replace(
        waiting, due=instant(now + LEASE), attempts=waiting.attempts + 1, version=waiting.version + 1
    )


def delivered(sent: OutboxMessage, now: datetime) -> OutboxMessage:
    """The parcel as one that has arrived."""
    return msgspec.structs.replace(sent, due=None, delivered=instant(now), version=sent.version + 1)


def superseded(waiting: OutboxMessage) -> OutboxMessage:
    """The parcel as one that nobody needs any more: what it asks was decided before it went out."""
    return msgspec.structs.replace(waiting, due=None, version=waiting.version + 1)


def deferred(waiting: OutboxMessage, now: datetime, after: timedelta | None) -> OutboxMessage:
    """The parcel as one that the channel asked to wait with, when it was sent another: due `after` so long."""
    due = instant(now + min(after or timedelta(0), timedelta(days=1)))
    return msgspec.structs.replace(waiting, due=max(due, waiting.due or due), version=waiting.version + 1)


def retry_later(sent: OutboxMessage, now: datetime, after: timedelta | None) -> OutboxMessage:
    """The parcel as one that did not arrive: due later, at the earliest `after` so long; or given up."""
    delay = min(FIRST_DELAY * 2 ** min(sent.attempts - 1, 16), LONGEST_DELAY)
    due = now + max(delay, min(after or delay, timedelta(days=1)))
    over = due > datetime.fromisoformat(sent.notice.at) + GIVEN_UP_AFTER
    return msgspec.structs.replace(sent, due=None if over else instant(due), version=sent.version + 1)
