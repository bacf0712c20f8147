"""A record that cannot be read, or a ledger that refuses: it is named, and what can be read goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from remediate.decisions.policy import Mode
from remediate.errors import LedgerFault
from remediate.ledger.checked import checked_switches, checked_trail
from remediate.ledger.interface import Cursor, Filter, Ledger, TrailFilter
from remediate.ledger.opening import open_ledger
from remediate.records.modes import EVERYWHERE, Modes
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.times import to_rfc3339
from tests.ledger.helpers import NOON, first, switched_alone, told

Open = Callable[[], Ledger]
NO_RECORDS = ["{}", "not json", '{"id": 7}', "[]", "", '{"x": ' + "[" * 5000 + "]" * 5000 + "}"]


@pytest.fixture
def fresh(ledger_url: str) -> Open:
    return lambda: open_ledger(ledger_url)


def damage(ledger_url: str, record: Remediation, text: str) -> None:
    if ledger_url.startswith("sqlite:"):
        with sqlite3.connect(ledger_url.removeprefix("sqlite:///")) as connection:
            connection.execute("UPDATE remediations SET record = ? WHERE id = ?", (text.encode(), record.id))
        return
    _client(ledger_url).collection("remediations").document(record.id).update({"record": text})


def _client(ledger_url: str) -> Any:
    from google.cloud.firestore import Client

    project, database = ledger_url.removeprefix("firestore://").split("/")
    return Client(project=project, database=database)


def three(ledger: Ledger) -> list[Remediation]:
    made = []
    for number in range(3):
        record, trail = first(number, NOON + timedelta(minutes=number))
        made.append(ledger.commit(record, trail=[trail]))
    return made


@pytest.mark.parametrize("text", NO_RECORDS)
def test_a_record_that_cannot_be_read_is_named_and_hides_no_other(fresh: Open, ledger_url: str, text: str) -> None:
    made = three(fresh())
    damage(ledger_url, made[1], text)
    ledger = fresh()
    for ask in (lambda: ledger.get(made[1].id), lambda: ledger.by_id_prefix(made[1].id), lambda: ledger.find(Filter())):
        with pytest.raises(LedgerFault, match=f"the record of {made[1].id} cannot be read"):
            ask()
    page = ledger.page(Filter())
    assert page.records == [made[2], made[0]]
    [fault] = page.damaged
    assert made[1].id in str(fault)
    assert set(ledger.ids((State.PROPOSED,))) == {each.id for each in made}
    assert set(ledger.ids((State.GRANTED,))) == set()
    assert list(ledger.index_mismatches()) == []
    link = checked_trail(ledger, made[1].id)[1]
    assert link
    assert made[1].id in link
    assert checked_trail(ledger, made[0].id)[1] is None


def test_pages_go_on_behind_a_record_that_cannot_be_read(fresh: Open, ledger_url: str) -> None:
    made = three(fresh())
    damage(ledger_url, made[1], "{}")
    page = fresh().page(Filter(), limit=1)
    assert (page.records, page.more) == ([made[2]], True)
    page = fresh().page(Filter(), limit=1, after=Cursor(made[2].tally.last_seen, made[2].id))
    assert (page.records, len(page.damaged)) == ([made[0]], 1)


def test_a_step_that_cannot_be_read_is_named_and_hides_no_other(fresh: Open, ledger_url: str) -> None:
    made = three(fresh())
    if ledger_url.startswith("sqlite:"):
        with sqlite3.connect(ledger_url.removeprefix("sqlite:///")) as connection:
            query = "UPDATE trail SET record = json_remove(CAST(record AS TEXT), '$.actor') WHERE remediation = ?"
            connection.execute(query, (made[1].id,))
    else:
        document = _client(ledger_url).collection("remediations").document(made[1].id)
        document.collection("trail").document("00000001").update({"record": "{}"})
    page = fresh().steps(TrailFilter())
    assert [each.remediation for each in page.steps] == [made[2].id, made[0].id]
    assert made[1].id in str(page.damaged[0])
    with pytest.raises(LedgerFault, match=f"a trail record of {made[1].id} cannot be read"):
        list(fresh().trail(made[1].id))


def test_a_notice_that_cannot_be_read_keeps_no_other_waiting(fresh: Open, ledger_url: str) -> None:
    waiting = [told(number) for number in range(3)]
    fresh().enqueue(waiting)
    if ledger_url.startswith("sqlite:"):
        with sqlite3.connect(ledger_url.removeprefix("sqlite:///")) as connection:
            connection.execute("UPDATE parcels SET record = '{}' WHERE id = ?", (waiting[0].id,))
    else:
        _client(ledger_url).collection("parcels").document(waiting[0].id).update({"record": "{}"})
    found = fresh().waiting("slack", to_rfc3339(NOON), 10)
    assert {each.id for each in found} == {each.id for each in waiting[1:]}


def test_switches_that_cannot_be_read_are_no_mode(fresh: Open, ledger_url: str) -> None:
    fresh().switch(*switched_alone(Modes(), EVERYWHERE, Mode.ENFORCE))
    if ledger_url.startswith("sqlite:"):
        with sqlite3.connect(ledger_url.removeprefix("sqlite:///")) as connection:
            connection.execute("UPDATE modes SET record = '{\"switches\": 1}'")
    else:
        _client(ledger_url).collection("settings").document("modes").update({"record": '{"switches": 1}'})
    with pytest.raises(LedgerFault, match="the record of the switches in force cannot be read"):
        fresh().modes()
    link = checked_switches(fresh())[2]
    assert link
    assert "switches in force" in link


def test_a_schema_without_its_number_is_named(firestore: str) -> None:
    _client(firestore).collection("settings").document("schema").set({"other": 1})
    with pytest.raises(LedgerFault, match="settings/schema has version None"):
        open_ledger(firestore).modes()
