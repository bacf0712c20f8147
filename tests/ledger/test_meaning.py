"""A record whose JSON is whole and whose fields mean nothing: each such field is a fault that names it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediate.decisions.policy import Mode
from remediate.errors import LedgerFault
from remediate.ledger import codec as stored
from remediate.ledger.meaning import FIELDS, nonsense
from remediate.records import stored_form
from remediate.records.lifecycle import transition, with_pending_removal
from remediate.records.modes import EVERYWHERE, Modes
from remediate.records.remediation import Remediation
from remediate.records.states import Ending, State
from tests.ledger.helpers import NOON, first, switched_alone, told
from tests.records.changed import with_fields

ANA = "user:ana@example.com"
DAMAGE: list[Any] = [
    "", "soon", "2026-13-45T99:00:00Z", "2026-11-23", "2026-11-23T12:00:00", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00", "projects/x", "user:", "allUsers", "roles/owner", "group:all@example.com", "\x00",
    None, 0, -1, 7, 1e300, True, [], ["x"], [None], {}, {"state": "granted"}, {"state": "revoked"}, "granted",
]  # fmt: skip


def granted() -> Remediation:
    record, _ = first()
    record, _ = transition(
        record, State.APPROVED, actor=ANA, now=NOON, added_by_us=True, expires="2026-12-24T12:00:00.000000Z"
    )
    record, _ = transition(record, State.GRANTED, actor="remediate", now=NOON)
    record = with_pending_removal(record, Ending(State.EXPIRED, "remediate", "over"))
    return with_fields(
        record, taken_away=record.lifecycle.updated, max_duration=60.0, reviewers=("example.com",), version=1
    )


def whole() -> dict[stored.RecordDecoder[Any], Any]:
    """One record of each kind, as it is stored."""
    modes, change = switched_alone(Modes(), EVERYWHERE, Mode.ENFORCE, actor=ANA, note="go")
    return {
        stored.remediation: granted(),
        stored.step: first()[1],
        stored.modes: modes,
        stored.change: change,
        stored.parcel: told(0),
    }


def named_fields() -> Iterator[tuple[stored.RecordDecoder[Any], tuple[str, ...]]]:
    for read, record in whole().items():
        for part in stored_form.parts(record) if isinstance(record, Remediation) else (record,):
            for name in FIELDS[type(part)]:
                yield read, (stored_form.stored_name(name),)
                inner = getattr(part, name)
                yield from ((read, (name, below)) for below in FIELDS.get(type(inner), {}))


def as_stored(record: object) -> bytes:
    return stored_form.encode(record) if isinstance(record, Remediation) else msgspec.json.encode(record)


def test_what_is_whole_is_read_as_it_was_written() -> None:
    for read, record in whole().items():
        assert read(as_stored(record)) == record


@pytest.mark.parametrize(
    ("read", "path"), list(named_fields()), ids=lambda each: ".".join(each) if isinstance(each, tuple) else ""
)
def test_a_damaged_field_is_a_fault_that_names_it_and_never_its_value(
    read: stored.RecordDecoder[Any], path: tuple[str, ...]
) -> None:
    faults: list[tuple[object, str]] = []
    for value in DAMAGE:
        record = json.loads(as_stored(whole()[read]))
        inner = record
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
        try:
            understood = read(json.dumps(record))
        except LedgerFault as fault:
            faults.append((value, str(fault)))
        else:
            assert nonsense(understood) is None
    for value, text in faults:
        assert f"`$.{path[0]}" in text or "`$.id`" in text
        assert not isinstance(value, str) or len(value) < 5 or value == "granted" or value not in text
    assert len(faults) > 5, path


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"role": "roles/owner"}, "role"),
        ({"role": "roles/artifactregistry.writer"}, "role"),
        ({"repository": "projects/platform-images/locations/us/repositories/secret"}, "id"),
        ({"member": "user:mallory@gmail.com"}, "id"),
        ({"id": "r-000000000000"}, "id"),
        ({"state": "proposed"}, "ending"),
        ({"ours": False}, "ending"),
        ({"expires": None}, "expires"),
        ({"deployers": ["ana@example.com"]}, "deployers"),
        ({"partners": ["../r-1"]}, "partners"),
        ({"reviewers": ["anybody"]}, "reviewers"),
    ],
)
def test_what_contradicts_itself_or_grants_another_role_is_a_fault(change: dict[str, Any], field: str) -> None:
    record = json.loads(as_stored(granted())) | change
    with pytest.raises(LedgerFault, match=rf"the record of r-1 cannot be read: .*`\$\.{field}"):
        stored.remediation(json.dumps(record), "r-1")


def test_a_record_under_another_id_is_a_fault() -> None:
    with pytest.raises(LedgerFault, match="stored under"):
        stored.remediation(as_stored(granted()), "r-000000000000")


def test_a_record_without_the_fields_of_today_is_read() -> None:
    record, step = granted(), first()[1]
    old = json.loads(as_stored(record))
    for name in ("role", "doubts", "ending", "taken_away", "cycle", "reviewers", "because", "partners", "lasts"):
        old.pop(name)
    assert stored.remediation(json.dumps(old)).id == record.id
    bare = {name: value for name, value in json.loads(msgspec.json.encode(step)).items() if name != "terms"}
    assert stored.step(json.dumps(bare)).hash == step.hash


@given(
    st.datetimes(max_value=NOON.replace(tzinfo=None) + timedelta(days=70000)),
    st.sampled_from(["Z", "+00:00", "-07:30"]),
)
def test_every_time_of_four_digits_and_a_zone_is_computed_with_or_a_fault(moment: Any, zone: str) -> None:
    record = json.loads(as_stored(granted())) | {"updated": moment.isoformat() + zone}
    try:
        read = stored.remediation(json.dumps(record))
    except LedgerFault:
        assert moment.year == 1
    else:
        assert datetime.fromisoformat(read.lifecycle.updated).astimezone(UTC) + timedelta(days=365_000)
