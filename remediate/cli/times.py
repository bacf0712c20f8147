"""Reads and writes times and durations of the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from remediate.errors import BadInput

if TYPE_CHECKING:
    from remediate.records.modes import Request

_DURATION = re.compile(r"([1-9][0-9]{0,4})([hdw])\Z")
_HOURS = {"h": 1, "d": 24, "w": 168}


def duration(text: str) -> timedelta | None:
    """`12h`, `30d` or `8w` as a duration; None for anything else."""
    match = _DURATION.match(text)
    return int(match[1]) * timedelta(hours=_HOURS[match[2]]) if match else None


def moment(option: str, text: str, accepted: str = "RFC 3339, as in 2026-11-23T08:00:00Z or 2026-11-23") -> datetime:
    """A moment in UTC; without a zone it is UTC. Raises BadInput that names the option and what it takes."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise BadInput(f"{option} {text!r}: expected {accepted}") from None


def interval(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """The moments that --since and --until name. Raises BadInput."""
    start = moment("--since", since) if since is not None else None
    return start, moment("--until", until) if until is not None else None


def deadline(request: Request) -> str:
    """Until when a second person can confirm this request."""
    from remediate.records.modes import OPEN_FOR

    return f"{datetime.fromisoformat(request.at) + OPEN_FOR:%F %R} UTC"
