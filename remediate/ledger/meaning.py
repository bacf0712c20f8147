"""Finds invalid fields in a record that was read back: a malformed time, an unknown role.

JSON of the right types is not enough: later computations would fail on a damaged time or repository. A table has one
line for each field with a constraint; other fields may have any value of their type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from remediate.errors import BadInput
from remediate.iam.grant import ROLE, Grant
from remediate.iam.member import Member, parse_member, reviewer_key
from remediate.iam.repository import Repository
from remediate.records import stored_form
from remediate.records.modes import POLICY, Loosening, ModeChange, Modes, Request, scope_of
from remediate.records.notice import Notice
from remediate.records.outbox import OutboxMessage
from remediate.records.remediation import Lifecycle, Remediation, Storage, Tally, Terms, TrailRecord
from remediate.records.states import Ending, State
from remediate.records.witnesses import DeployerNames

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})\Z"
)
_LAST_YEAR = 9000  # of any time: times computed from it still have a year of four digits
_LONGEST = 1e10  # seconds, the longest duration of a grant: three centuries
_ID = re.compile(r"r-[0-9a-f]{12}\Z")

_Check = tuple[str, Callable[[Any], bool]]
"""What a field must be, in words, and the check."""


def _is_time(text: str) -> bool:
    if not _TIME.match(text):
        return False
    try:
        return datetime.fromisoformat(text).astimezone(UTC).year < _LAST_YEAR
    except (ValueError, OverflowError):  # no such day, or out of range in UTC
        return False


def _is_repository(text: str) -> bool:
    return Repository.parse(text) is not None


def _is_member(text: str) -> bool:
    return str(parse_member(text)) == text and isinstance(parse_member(text), Member)


def _is_scope(text: str) -> bool:
    try:
        return scope_of(text) == text
    except BadInput:
        return False


def _is_asked(text: str) -> bool:
    return text == POLICY or _is_scope(text)


def _positive(number: int) -> bool:
    return number > 0


def _each(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda values: all(map(check, values))


def _perhaps(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _inside(value: object) -> bool:
    """For a nested record: whether all its fields are valid."""
    return nonsense(value) is None


_DIGEST = re.compile(r"[0-9a-f]{12}\Z")
_TIMED: _Check = ("a time (RFC 3339)", _is_time)
_TIMED_OR_NOT: _Check = ("a time (RFC 3339), or null", _perhaps(_is_time))
_REPOSITORY: _Check = ("the resource name of a repository", _is_repository)
_MEMBER: _Check = ("an IAM member", _is_member)
_COUNTED: _Check = ("a number from 1", _positive)
_COUNT: _Check = ("a number from 0", lambda number: number >= 0)

FIELDS: Mapping[type, Mapping[str, _Check]] = {
    Remediation: {
        "repository": _REPOSITORY,
        "member": _MEMBER,
        "role": (f"the role {ROLE}", lambda role: role == ROLE),
    },
    DeployerNames: {"deployers": ("IAM members", _each(_is_member))},
    Tally: {
        "first_seen": _TIMED,
        "last_seen": _TIMED,
        "partners": ("ids of remediations", _each(lambda ident: _ID.match(ident) is not None)),
        "denials": _COUNT,
    },
    Terms: {
        "max_duration": ("seconds, or null", _perhaps(lambda seconds: 0 < seconds <= _LONGEST)),
        "reviewers": ("addresses and domains", _each(lambda text: reviewer_key(text) is not None)),
    },
    Lifecycle: {
        "updated": _TIMED,
        "expires": _TIMED_OR_NOT,
        "taken_away": _TIMED_OR_NOT,
        "ended": _TIMED_OR_NOT,
        "shown": ("digests of twelve hexadecimal digits", _each(lambda text: _DIGEST.match(text) is not None)),
        "ending": ("a pending removal, revoked or expired, or null", _perhaps(_inside)),
        "cycle": _COUNTED,
    },
    Storage: {"version": _COUNTED, "trail": _COUNT},
    Ending: {"state": ("revoked or expired", lambda state: state in (State.REVOKED, State.EXPIRED))},
    TrailRecord: {"at": _TIMED, "repository": _REPOSITORY, "member": _MEMBER, "seq": _COUNTED},
    Modes: {
        "switches": ("scopes", _each(_is_scope)),
        "asked": (
            "scopes, each with a request",
            lambda asked: all(map(_is_asked, asked)) and _each(_inside)(asked.values()),
        ),
        "loosened": ("loosenings", _each(_inside)),
        "version": _COUNT,
        "trail": _COUNT,
    },
    Request: {"at": _TIMED, "actor": _MEMBER},
    Loosening: {"at": _TIMED, "scope": ("a scope", _is_scope), "actors": ("IAM members", _each(_is_member))},
    ModeChange: {"at": _TIMED, "scope": ("a scope", _is_asked), "seq": _COUNTED},
    OutboxMessage: {
        "due": _TIMED_OR_NOT,
        "delivered": _TIMED_OR_NOT,
        "attempts": _COUNT,
        "version": _COUNTED,
        "notice": ("a notice whose times are RFC 3339", _inside),
    },
    Notice: {
        "at": _TIMED,
        "first_seen": _TIMED,
        "last_seen": _TIMED,
        "lapses": _TIMED_OR_NOT,
        "expires": _TIMED_OR_NOT,
    },
}
"""The constraint of each field, by record type; fields that are not listed may have any value of their type."""


def nonsense(record: object) -> str | None:
    """The first invalid field and what was expected, never its value; None if all are valid.

    >>> nonsense(Ending(State.GRANTED, "user:ana@example.com", ""))
    'expected revoked or expired - at `$.state`'
    """
    for part in stored_form.parts(record) if isinstance(record, Remediation) else (record,):
        for name, (expected, means_something) in FIELDS.get(type(part), {}).items():
            if not means_something(getattr(part, name)):
                return f"expected {expected} - at `$.{stored_form.stored_name(name)}`"
    return _contradiction(record) if isinstance(record, Remediation) else None


def _contradiction(record: Remediation) -> str | None:
    """The first contradiction between two fields of one record; None if there is none."""
    grant = Grant.parse(record.repository, record.member)
    if grant is None or record.id != grant.id:
        return "expected the id of this repository and this member - at `$.id`"
    ending = record.lifecycle.ending
    if ending is not None and (record.state is not State.GRANTED or not record.lifecycle.added_by_us):
        return "expected a pending removal only of a grant that remediate made - at `$.ending`"
    if ending is not None and ending.state is State.EXPIRED and record.lifecycle.expires is None:
        return "expected the time when it expired - at `$.expires`"
    return None
