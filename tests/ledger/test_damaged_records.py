"""One damaged record among three, or one whose trail is broken: it is named, the others end, no policy is written on it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediate.errors import LedgerFault
from remediate.iam.allow_policy import Binding
from remediate.iam.grant import ROLE, Grant
from remediate.ledger.checked import checked_trail
from remediate.ledger.sqlite import SqliteLedger
from remediate.records import stored_form
from remediate.records.lifecycle import transition
from remediate.records.remediation import Remediation
from remediate.records.results import Swept
from remediate.records.states import State
from tests.audit_entries import REPOSITORY, activity, denial
from tests.service.world import REVIEWER, World

DAY = timedelta(days=1)
DAMAGE: list[Any] = [
    None, "", "x", "soon", "2026-13-45T99:00:00Z", "9999-12-31T23:59:59-12:00", "allUsers", "roles/owner", "\ud800",
    -1, 0, 7, 10**30, 1e300, True, [], ["x"], [[]], [None], {}, {"state": "expired", "actor": "x", "note": ""},
]  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(SqliteLedger(tmp_path / "ledger.db"))


def granted(world: World, *names: str) -> list[Remediation]:
    """A grant for a day of each deployer."""
    made = []
    for name in names:
        record = world.instance().handle(denial(activity(email=f"{name}@example.com", insert_id=name))).remediation
        assert record
        made.append(world.instance().approve(record.id, actor=REVIEWER, max_duration=DAY).remediation)
    return made


def overwrite(world: World, ident: str, record: Any) -> None:
    text = record if isinstance(record, bytes) else json.dumps(record).encode()
    _execute(world, "UPDATE remediations SET record = ? WHERE id = ?", text, ident)


def _execute(world: World, query: str, *values: object) -> None:
    assert isinstance(world.ledger, SqliteLedger)
    with sqlite3.connect(world.ledger._path) as connection:
        connection.execute(query, values)
    connection.close()


def readers(world: World) -> set[str]:
    return {
        member for binding in world.registry.policies[REPOSITORY] if binding.role == ROLE for member in binding.members
    }


def named(world: World) -> list[Swept]:
    return [each for each in world.instance().sweep() if each.fault]


@pytest.mark.slow
@given(name=st.sampled_from(Remediation.__struct_fields__), value=st.sampled_from(DAMAGE))
@settings(max_examples=120, suppress_health_check=list(HealthCheck))
def test_whatever_is_damaged_in_one_record_the_others_end(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: Any
) -> None:
    world = World(SqliteLedger(tmp_path_factory.mktemp("fuzz") / "ledger.db"))
    one, two, three = granted(world, "ana", "bo", "cy")
    overwrite(world, two.id, stored_form.to_builtins(two) | {name: value})
    world.now += 2 * DAY
    faults = named(world)
    assert {each.ident for each in faults} <= {two.id}
    assert not readers(world) & {one.member, three.member}
    for fine in (one, three):
        record = world.ledger.get(fine.id)
        assert record
        assert record.state is State.EXPIRED
    if faults:
        assert two.member in readers(world)


@pytest.mark.slow
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_whatever_bit_of_one_record_is_flipped_the_others_end(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    world = World(SqliteLedger(tmp_path_factory.mktemp("flip") / "ledger.db"))
    one, two, three = granted(world, "ana", "bo", "cy")
    text = bytearray(stored_form.encode(two))
    text[position % len(text)] ^= 1 << bit
    overwrite(world, two.id, bytes(text))
    world.now += 2 * DAY
    assert {each.ident for each in named(world)} <= {two.id}
    assert not readers(world) & {one.member, three.member}


def test_an_unexpected_error_of_one_is_told_by_its_place_and_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = granted(world, "ana", "bo")
    world.now += 2 * DAY
    remove = world.registry.remove_reader

    def failing(grant: Grant, **others: Any) -> Any:
        if str(grant.member) == one.member:
            raise ZeroDivisionError("of a secret")
        return remove(grant, **others)

    monkeypatch.setattr(world.registry, "remove_reader", failing)
    [fault] = named(world)
    assert fault.ident == one.id
    assert "unexpected ZeroDivisionError at test_damaged_records.py" in fault.fault
    assert "secret" not in fault.fault
    assert readers(world) == {one.member}


TAMPERING = {
    "for longer": {"expires": "2026-11-24T12:00:00.000001Z"},
    "for less": {"expires": "2026-11-23T12:00:00.000000Z"},
    "on another's word": {"approver": "user:mallory@example.com"},
    "another time": {"updated": "2020-01-01T00:00:00.000000Z"},
    "a cut trail": {"trail": 2},
    "another trail": {"trail_hash": "0" * 64},
}


@pytest.mark.parametrize("change", TAMPERING.values(), ids=TAMPERING.keys())
def test_a_grant_whose_chain_is_broken_is_not_ended_and_the_others_are(world: World, change: dict[str, Any]) -> None:
    one, two, three = granted(world, "ana", "bo", "cy")
    overwrite(world, two.id, stored_form.to_builtins(two) | change)
    world.now += 2 * DAY
    [fault] = named(world)
    assert (fault.ident, f"the hash chain of {two.id} is broken" in fault.fault) == (two.id, True)
    assert readers(world) == {two.member}
    record = world.ledger.get(two.id)
    assert record
    assert (record.state, record.lifecycle.ending) == (State.GRANTED, None)
    assert checked_trail(world.ledger, two.id)[1]  # and no record of ours covers it up
    assert {one.id, three.id}.isdisjoint({each.ident for each in named(world)})


def approved(world: World) -> Remediation:
    record = world.instance().handle(denial(activity(email="ana@example.com", insert_id="1"))).remediation
    assert record
    stored = world.ledger.get(record.id)
    assert stored
    record, step = transition(stored, State.APPROVED, actor=f"user:{REVIEWER}", now=world.now, added_by_us=True)
    return world.ledger.commit(record, trail=[step])


def broken_ways(world: World, record: Remediation) -> Iterator[None]:
    """Each way to make an approval that nobody gave, or to hide who gave it."""
    fields = stored_form.to_builtins(record)
    for forged in ({"approver": "user:mallory@example.com"}, {"lasts": 60.0}):
        overwrite(world, record.id, fields | forged)
        yield
    overwrite(world, record.id, fields)
    _execute(world, "UPDATE trail SET record = replace(record, ?, 'x@example.com') WHERE seq = 2", REVIEWER)
    yield
    for gone in ("DELETE FROM trail WHERE seq = 1", "DELETE FROM trail"):
        _execute(world, gone)
        yield


def test_an_approval_whose_chain_is_broken_is_never_written(world: World) -> None:
    record = approved(world)
    for _ in broken_ways(world, record):
        assert record.id in {each.ident for each in named(world)}
        with pytest.raises(LedgerFault, match=f"the hash chain of {record.id} is broken"):
            world.instance().approve(record.id, actor=REVIEWER)
        assert (world.registry.writes, readers(world)) == (0, set())


def test_a_state_that_no_trail_leads_to_grants_nothing(world: World) -> None:
    record = world.instance().handle(denial(activity(email="ana@example.com", insert_id="1"))).remediation
    assert record
    forged = stored_form.to_builtins(record) | {"state": "approved", "approver": f"user:{REVIEWER}", "ours": True}
    overwrite(world, record.id, forged)
    _execute(world, "UPDATE remediations SET state = 'approved' WHERE id = ?", record.id)
    assert record.id in {each.ident for each in named(world)}
    assert (world.registry.writes, readers(world)) == (0, set())


def test_a_grant_whose_chain_is_broken_is_not_revoked_and_says_why(world: World) -> None:
    [record] = granted(world, "ana")
    overwrite(world, record.id, stored_form.to_builtins(record) | {"cycle": 9})
    with pytest.raises(LedgerFault, match="hash chain"):
        world.instance().revoke(record.id, actor=REVIEWER, note="over")
    assert readers(world) == {record.member}


def test_an_end_that_the_ledger_alone_announces_takes_nothing_away(world: World) -> None:
    [record] = granted(world, "ana")
    other = world.instance().handle(denial(activity(email="bo@example.com", insert_id="2"))).remediation
    assert other
    world.registry.policies[REPOSITORY][:] = [Binding(ROLE, (record.member, other.member))]
    done = world.instance().approve(other.id, actor=REVIEWER).remediation
    ending = {"state": "revoked", "actor": "x", "note": ""}
    overwrite(world, done.id, stored_form.to_builtins(done) | {"ending": ending})
    assert [each.ident for each in named(world)] == [done.id]
    assert {record.member, done.member} <= readers(world)


@pytest.mark.parametrize(
    "timestamp", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z"]
)
def test_an_entry_of_any_time_leaves_a_record_that_can_be_read(world: World, timestamp: str) -> None:
    record = world.instance().handle(denial(activity(insert_id="1") | {"timestamp": timestamp})).remediation
    assert record
    assert world.ledger.get(record.id) == record
