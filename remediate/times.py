"""Times and durations: as records and logs store them, as people type them, and the spans that several parts share."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

DURATION = r"^[1-9][0-9]{0,4}[hdw]$"
"""The form of a duration that people write, as a JSON schema states it."""
_HOURS = {"h": 1, "d": 24, "w": 168}

LAPSE_AFTER = timedelta(days=7)
"""After this time a proposal expires, and so does an approval that is not carried out; a setting changes it."""
HOLD_REJECTIONS = timedelta(days=30)
"""A rejection holds for this time; a setting changes it."""
LOG_VIEW_LASTS = timedelta(days=7)
"""How long the log view's bucket keeps an entry, as deploy/ sets it up."""
RETRY_AFTER, RETRY_SURELY, PROPAGATION = timedelta(minutes=2), timedelta(minutes=7), timedelta(minutes=15)
"""How long IAM needs for a grant: usually, at times, and at most. Source: "Access change propagation" (IAM): typically
two minutes, at times seven or more."""


def to_rfc3339(at: datetime) -> str:
    """RFC 3339 in UTC, with microseconds: `2026-11-23T08:00:00.123456Z`. Texts of this form sort as the times do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """The time, in UTC, that a stored or typed text means; without a zone it is UTC. Raises ValueError."""
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(f"out of range in UTC: {text!r}") from None


def duration(text: str) -> timedelta | None:
    """`12h`, `30d` or `8w` as a duration; None for any other text."""
    return int(text[:-1]) * timedelta(hours=_HOURS[text[-1]]) if re.fullmatch(DURATION, text) else None
