"""What is due is found by the ledger's indexes, and nothing else; the same on every ledger."""

from __future__ import annotations

import itertools
import sqlite3
from datetime import timedelta
from pathlib import Path

from remediate.ledger.interface import Filter, filed
from remediate.ledger.opening import open_ledger
from remediate.ledger.schema import MIGRATIONS
from remediate.ledger.sqlite import SqliteLedger
from remediate.records import stored_form
from remediate.records.remediation import Remediation
from remediate.records.states import Ending, State
from remediate.times import to_rfc3339
from tests.ledger.helpers import NOON, first
from tests.records.changed import with_fields

NOW, SINCE = to_rfc3339(NOON), to_rfc3339(NOON - timedelta(days=6))
MOMENT = timedelta(microseconds=1)
PENDING = Ending(State.REVOKED, "user:ana@example.com", "no longer needed")
STATES = (State.PROPOSED, State.APPROVED, State.GRANTED, State.EXPIRED)


def every_kind() -> list[Remediation]:
    """A record of each state, age and end that a due query may confuse with another."""
    record, _ = first()
    ages = (timedelta(days=6) - MOMENT, timedelta(days=6), timedelta(days=9))
    ends = (None, NOON - timedelta(days=1), NOON, NOON + MOMENT)
    kinds = itertools.product(STATES, ages, ends, (True, False), (None, PENDING))
    return [
        with_fields(
            record,
            id=f"r-{number:012x}",
            state=state,
            updated=to_rfc3339(NOON - age),
            expires=end and to_rfc3339(end),
            added_by_us=ours,
            ending=ending,
        )
        for number, (state, age, end, ours, ending) in enumerate(kinds)
    ]


def is_due(record: Remediation) -> bool:
    """What `due` promises, for one record."""
    life = record.lifecycle
    match record.state:
        case State.APPROVED:
            return True
        case State.PROPOSED:
            return life.updated <= SINCE
        case State.GRANTED:
            return life.ending is not None or bool(life.added_by_us and life.expires and life.expires <= NOW)
        case _:
            return False


def test_what_is_due_is_all_that_is_found(ledger_url: str) -> None:
    ledger, records = open_ledger(ledger_url), every_kind()
    for record in records:
        ledger.commit(record)
    assert sorted(ledger.due(NOW, SINCE)) == [each.id for each in records if is_due(each)]


def test_what_is_done_is_due_no_longer_and_what_is_put_off_is_due_later(ledger_url: str) -> None:
    ledger = open_ledger(ledger_url)
    record = with_fields(first()[0], state=State.GRANTED, added_by_us=True, expires=NOW)
    record = ledger.commit(record)
    assert list(ledger.due(NOW, SINCE)) == [record.id]
    later = to_rfc3339(NOON + timedelta(hours=1))
    record = ledger.commit(with_fields(record, expires=later))
    assert list(ledger.due(NOW, SINCE)) == []
    assert list(ledger.due(later, SINCE)) == [record.id]
    ledger.commit(with_fields(record, state=State.EXPIRED))
    assert list(ledger.due(later, SINCE)) == []


def test_an_end_filed_under_another_time_is_found(ledger_url: str) -> None:
    ledger = open_ledger(ledger_url)
    record = ledger.commit(with_fields(first()[0], state=State.GRANTED, added_by_us=True, expires=NOW))
    assert list(ledger.index_mismatches()) == []
    if ledger_url.startswith("sqlite:"):
        with sqlite3.connect(ledger_url.removeprefix("sqlite:///")) as connection:
            connection.execute("UPDATE remediations SET ends = NULL")
    else:
        from google.cloud.firestore import Client

        project, database = ledger_url.removeprefix("firestore://").split("/")
        Client(project=project, database=database).document(f"remediations/{record.id}").update({"ends": None})
    assert list(open_ledger(ledger_url).index_mismatches()) == [record.id]


def test_a_file_of_the_fifth_schema_files_its_ends_and_keeps_what_cannot_be_read(tmp_path: Path) -> None:
    path, records = tmp_path / "ledger.db", every_kind()
    with sqlite3.connect(path) as connection:
        for script in MIGRATIONS[:5]:
            connection.executescript(script)
        for record in records:
            old = {**filed(record), "id": record.id, "record": stored_form.encode(record)}
            del old["ends"]
            connection.execute(f"INSERT INTO remediations ({', '.join(old)}) VALUES ({', '.join('?' * len(old))})", [*old.values()])  # fmt: skip
        damaged = ("r-ffffffffffff", 1, "granted", records[0].repository, records[0].member, NOW, NOW, b"not json")
        columns = "id, version, state, repository, member, last_seen, updated, record"
        connection.execute(f"INSERT INTO remediations ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", damaged)
        connection.execute("PRAGMA user_version = 5")
    connection.close()
    ledger = open_ledger(f"sqlite:///{path}")
    assert sorted(ledger.due(NOW, SINCE)) == [each.id for each in records if is_due(each)]
    assert list(ledger.index_mismatches()) == []
    assert list(ledger.damage()) == []
    assert [each.id for each in records] == sorted({*ledger.ids()} - {damaged[0]})


def test_a_document_of_before_is_due_once_it_is_written_again(firestore: str) -> None:
    from google.cloud.firestore import DELETE_FIELD, Client

    ledger = open_ledger(firestore)
    record = ledger.commit(with_fields(first()[0], state=State.GRANTED, added_by_us=True, expires=NOW))
    project, database = firestore.removeprefix("firestore://").split("/")
    Client(project=project, database=database).document(f"remediations/{record.id}").update({"ends": DELETE_FIELD})
    assert list(ledger.due(NOW, SINCE)) == []
    assert list(ledger.index_mismatches()) == []
    assert list(ledger.ids((State.GRANTED,))) == [record.id]
    assert ledger.page(Filter((State.GRANTED,))).records == [record]
    ledger.commit(record)
    assert list(ledger.due(NOW, SINCE)) == [record.id]


def test_the_file_looks_up_what_is_due_and_reads_no_other_row(tmp_path: Path) -> None:
    """SQLite's own account of the query that `due` asks."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    asked: list[str] = []
    connection = ledger._connection()
    connection.set_trace_callback(asked.append)
    assert list(ledger.due(NOW, SINCE)) == []
    connection.set_trace_callback(None)
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {asked[-1]}")]
    assert len([each for each in steps if "USING COVERING INDEX" in each]) == 3
    assert [each for each in steps if each.startswith("SCAN")] == []
