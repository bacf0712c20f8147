"""Times and durations, as stored and as typed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from remediate.times import duration, parse_time, to_rfc3339

EIGHT = datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-11-23T08:00:00Z", "2026-11-23T09:00:00+01:00", "2026-11-23T08:00:00"])
def test_a_moment_is_in_utc(text: str) -> None:
    assert parse_time(text) == EIGHT
    assert parse_time(text).tzinfo is UTC


def test_an_instant_is_read_back() -> None:
    at = datetime(2026, 11, 23, 9, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    assert to_rfc3339(at) == "2026-11-23T08:00:00.123456Z"
    assert parse_time(to_rfc3339(at)) == at


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "12h", "9999-12-31T23:59:59-23:59"])
def test_any_other_text_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match=r"Invalid isoformat|out of range|must be in"):
        parse_time(text)


@pytest.mark.parametrize(("text", "hours"), [("1h", 1), ("30d", 720), ("8w", 1344), ("99999h", 99_999)])
def test_a_duration_is_in_hours_days_or_weeks(text: str, hours: int) -> None:
    assert duration(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "h", "0d", "01d", "1m", "1.5h", "-1h", "100000h", "1h\n", " 1h", "١h"])
def test_any_other_text_is_no_duration(text: str) -> None:
    assert duration(text) is None
