"""Moments as records, logs and filters write them."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(moment: datetime) -> str:
    """RFC 3339 in UTC, with microseconds: `2026-11-23T08:00:00.123456Z`. Texts of this form sort as the moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
