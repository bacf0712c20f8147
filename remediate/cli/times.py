"""Reads and writes times of the command line."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from remediate.errors import BadInput
from remediate.times import parse_time

if TYPE_CHECKING:
    from remediate.records.modes import Request


def option_moment(
    option: str, text: str, accepted: str = "RFC 3339, as in 2026-11-23T08:00:00Z or 2026-11-23"
) -> datetime:
    """The moment that an option names, in UTC. Raises BadInput that names the option and what it takes."""
    try:
        return parse_time(text)
    except ValueError:
        raise BadInput(f"{option} {text!r}: expected {accepted}") from None


def interval(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """The moments that --since and --until name. Raises BadInput."""
    start = option_moment("--since", since) if since is not None else None
    return start, option_moment("--until", until) if until is not None else None


def deadline(request: Request) -> str:
    """Until when a second person can confirm this request."""
    from remediate.records.modes import OPEN_FOR

    return f"{parse_time(request.at) + OPEN_FOR:%F %R} UTC"
