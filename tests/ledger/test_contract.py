"""What every ledger has to do; each implementation joins the list and is held to the same tests."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediate.decisions.policy import Mode
from remediate.errors import BadInput, Conflict
from remediate.ledger.checked import checked_switches
from remediate.ledger.firestore import SCHEMA as FIRESTORE_SCHEMA
from remediate.ledger.interface import Cursor, Filter, Ledger, TrailFilter
from remediate.ledger.opening import open_ledger
from remediate.ledger.schema import MIGRATIONS, SCHEMA
from remediate.records import stored_form
from remediate.records.hash_chain import digest
from remediate.records.lifecycle import transition, with_denial
from remediate.records.modes import EVERYWHERE, Modes, switched
from remediate.records.outbox import LEASE, delivered, leased, retry_later
from remediate.records.remediation import Remediation, TrailRecord
from remediate.records.states import State
from remediate.times import to_rfc3339
from tests.audit_entries import activity, denial
from tests.ledger.helpers import NOON, denied, first, switched_alone, told
from tests.records.changed import with_fields

Open = Callable[[], Ledger]


@pytest.fixture
def fresh(ledger_url: str) -> Open:
    """Opens the same ledger again and again, as each process does."""
    return lambda: open_ledger(ledger_url)


def test_what_was_committed_is_there_for_everybody(fresh: Open) -> None:
    record, trail = first()
    record = fresh().commit(record, trail=[trail], denial_key="k")
    assert fresh().get(record.id) == record
    assert list(fresh().trail(record.id)) == list(fresh().trail()) == [trail]
    assert fresh().is_counted("k", record.id)
    assert not fresh().is_counted("other", record.id)
    assert fresh().get("r-000000000000") is None


@pytest.mark.parametrize("version", [0, 2, 7])
def test_a_stale_version_is_a_conflict_and_leaves_nothing(fresh: Open, version: int) -> None:
    record, trail = first()
    record = fresh().commit(record, trail=[trail])
    later, step = transition(record, State.REJECTED, actor="user:ana@example.com", now=NOON)
    with pytest.raises(Conflict):
        fresh().commit(with_fields(later, version=version), trail=[step], denial_key="k")
    assert fresh().get(record.id) == record
    assert list(fresh().trail()) == [trail]
    assert not fresh().is_counted("k", record.id)


def test_a_denial_is_counted_once_in_each_remediation(fresh: Open) -> None:
    (one, _), (two, _) = first(1), first(2)
    one = fresh().commit(one, denial_key="k")
    fresh().commit(two, denial_key="k")
    again = with_denial(one, denied(1), NOON)
    with pytest.raises(Conflict):
        fresh().commit(again, denial_key="k")
    assert fresh().get(one.id) == one


def test_a_list_is_newest_first_filtered_and_paged(fresh: Open) -> None:
    ledger = fresh()
    made = [first(number, NOON - timedelta(minutes=number))[0] for number in range(6)]
    made = [ledger.commit(record) for record in reversed(made)][::-1]
    assert [each.id for each in ledger.find(Filter())] == [each.id for each in made]
    page = ledger.find(Filter(), limit=2)
    assert [each.id for each in ledger.find(Filter(), limit=2, after=page[-1])] == [each.id for each in made[2:4]]
    assert [each.id for each in ledger.find(Filter(member="DEPLOYER-3"))] == [made[3].id]
    assert [each.id for each in ledger.find(Filter(member=made[3].member))] == [made[3].id]
    assert ledger.find(Filter(member=made[3].member.replace(".com", ".co"))) == []
    assert len(ledger.find(Filter(repository="repositories/containers"))) == 6
    assert len(ledger.find(Filter(repository="projects/platform-images/"))) == 6
    assert len(ledger.find(Filter(repository=made[0].repository, member=made[0].member))) == 1
    rejected, step = transition(made[4], State.REJECTED, actor="user:ana@example.com", now=NOON)
    ledger.commit(rejected, trail=[step])
    assert [each.id for each in ledger.find(Filter(states=(State.REJECTED,)))] == [made[4].id]
    assert len(ledger.find(Filter(states=(State.REJECTED, State.PROPOSED)))) == 6
    assert ledger.find(Filter(member="%")) == []


def test_pages_lose_nothing_that_was_seen_at_the_same_moment(fresh: Open) -> None:
    ledger = fresh()
    made = [first(number)[0] for number in range(7)]
    for record in made:
        ledger.commit(record)
    found, page = [], ledger.find(Filter(), limit=3)
    while page:
        found += page
        page = ledger.find(Filter(), limit=3, after=page[-1])
    assert sorted(each.id for each in found) == sorted(each.id for each in made)


def test_an_id_may_be_abbreviated(fresh: Open) -> None:
    ledger = fresh()
    records = [first(number)[0] for number in range(3)]
    for record in records:
        ledger.commit(record)
    assert [each.id for each in ledger.by_id_prefix(records[0].id[:8])] == [records[0].id]
    assert len(ledger.by_id_prefix("r-")) == 3
    assert ledger.by_id_prefix("r-%") == []


def _count(url: str, worker: int, times: int) -> None:
    ledger = open_ledger(url)
    ident = first()[0].id
    for number in range(times):
        while True:
            record = ledger.get(ident)
            assert record
            try:
                ledger.commit(with_denial(record, denied(), NOON), denial_key=f"{worker}-{number}")
                break
            except Conflict:
                continue


@pytest.mark.slow
def test_many_processes_count_and_lose_nothing(ledger_url: str) -> None:
    url = ledger_url
    record, trail = first()
    record = open_ledger(url).commit(record, trail=[trail])
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(url, number, 25)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    found = open_ledger(url).get(record.id)
    assert found
    assert found.tally.denials == record.tally.denials + 100


def test_many_threads_open_one_record_once(fresh: Open) -> None:
    ledger = fresh()
    record, trail = first()

    def attempt(_: int) -> bool:
        try:
            ledger.commit(record, trail=[trail])
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(32))) == 1
    assert len(list(ledger.trail())) == 1


def _write_for_ever(url: str, ready: Connection) -> None:
    ledger = open_ledger(url)
    for number in range(1_000_000):
        record, trail = first(number)
        record = ledger.commit(record, trail=[trail], denial_key=str(number))
        if number == 20:
            ready.send("go on")


def test_a_killed_writer_leaves_whole_steps_alone(ledger_url: str) -> None:
    url = ledger_url
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    writer = context.Process(target=_write_for_ever, args=(url, theirs))
    writer.start()
    assert ours.poll(60)
    assert writer.pid
    os.kill(writer.pid, signal.SIGKILL)
    writer.join(10)
    ledger = open_ledger(url)
    records = ledger.find(Filter(), limit=1_000_000)
    assert len(records) > 20
    assert sorted(each.remediation for each in ledger.trail()) == sorted(each.id for each in records)
    ledger.commit(first(-1)[0])


def test_a_parcel_is_stored_with_its_step_or_not_at_all(fresh: Open) -> None:
    record, trail = first()
    stored = fresh().commit(record, trail=[trail], denial_key="k", parcels=[told(0), told(0, "chat")])
    assert fresh().waiting("slack", to_rfc3339(NOON), 10) == [told(0)]
    assert fresh().waiting("chat", to_rfc3339(NOON), 10) == [told(0, "chat")]
    assert fresh().waiting("pubsub", to_rfc3339(NOON), 10) == []
    with pytest.raises(Conflict):
        fresh().commit(record, trail=[trail], parcels=[told(1)])
    with pytest.raises(Conflict):
        fresh().commit(with_denial(stored, denied(), NOON), denial_key="k", parcels=[told(2)])
    assert fresh().waiting("slack", to_rfc3339(NOON), 10) == [told(0)]


def test_a_parcel_that_is_there_stays_as_it_is_and_is_no_conflict(fresh: Open) -> None:
    record, trail = first()
    record = fresh().commit(record, trail=[trail], parcels=[told(0)])
    sent = delivered(leased(told(0), NOON), NOON)
    fresh().mark(leased(told(0), NOON))
    fresh().mark(sent)
    fresh().commit(with_denial(record, denied(), NOON), parcels=[told(0), told(1)])
    fresh().enqueue([told(0), told(1), told(2)])
    fresh().enqueue([])
    waiting = fresh().waiting("slack", to_rfc3339(NOON + timedelta(days=9)), 10)
    assert sorted(each.id for each in waiting) == sorted([told(1).id, told(2).id])


def test_parcels_wait_until_they_are_due_and_the_longest_due_comes_first(fresh: Open) -> None:
    ledger = fresh()
    made = [told(number, at=NOON + timedelta(minutes=number)) for number in range(4)]
    ledger.enqueue(made[::-1])
    assert ledger.waiting("slack", to_rfc3339(NOON + timedelta(minutes=2)), 10) == made[:3]
    assert ledger.waiting("slack", to_rfc3339(NOON + timedelta(minutes=9)), 2) == made[:2]
    mine = leased(made[0], NOON)
    ledger.mark(mine)
    assert ledger.waiting("slack", to_rfc3339(NOON), 10) == []
    assert ledger.waiting("slack", to_rfc3339(NOON + LEASE - timedelta(seconds=1)), 10) == [made[1]]
    assert mine in ledger.waiting("slack", to_rfc3339(NOON + LEASE), 10)
    ledger.mark(retry_later(mine, NOON, timedelta(hours=5)))
    assert mine.id not in [each.id for each in ledger.waiting("slack", to_rfc3339(NOON + timedelta(hours=4)), 10)]


def test_of_many_who_claim_a_parcel_one_has_it(fresh: Open) -> None:
    fresh().enqueue([told(0)])
    ledgers = [fresh() for _ in range(4)]

    def attempt(number: int) -> bool:
        try:
            ledgers[number % 4].mark(leased(told(0), NOON))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(16))) == 1
    with pytest.raises(Conflict):
        fresh().mark(leased(told(7), NOON))


def test_many_steps_that_tell_the_same_are_all_stored_and_it_is_told_once(fresh: Open) -> None:
    """The brake's notice is one an hour, and every step of that hour brings it."""
    ledgers = [fresh() for _ in range(4)]

    def attempt(number: int) -> None:
        record, trail = first(number)
        while True:
            with contextlib.suppress(Conflict):
                ledgers[number % 4].commit(record, trail=[trail], parcels=[told(99)])
                return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attempt, range(24)))
    assert len(fresh().find(Filter())) == 24
    assert fresh().waiting("slack", to_rfc3339(NOON), 10) == [told(99)]


def _with_schema(url: str, version: int) -> None:
    """Make an existing ledger one of another schema."""
    if url.startswith("sqlite:"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        return
    from google.cloud.firestore import Client

    project, database = url.removeprefix("firestore://").split("/")
    Client(project=project, database=database).collection("settings").document("schema").set({"version": version})


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def opened_at_once(url: str) -> Ledger:
        start.wait(30)
        return open_ledger(url)

    with ThreadPoolExecutor(8) as pool:
        for turn in range(20):
            url = f"sqlite:///{tmp_path / f'{turn}.db'}"
            assert len(list(pool.map(opened_at_once, [url] * 8))) == 8


def test_what_was_last_denied_in_a_time_is_found_whole(fresh: Open) -> None:
    records = []
    for number in range(4):
        record, trail = first(number, NOON + timedelta(hours=number))
        record = fresh().commit(record, trail=[trail])
        records.append(record)
    between = partial(Filter, since=records[1].tally.last_seen, until=records[3].tally.last_seen)
    for order in (False, True):
        found = fresh().page(between(), longest_waiting=order).records
        assert {record.id for record in found} == {record.id for record in records[1:3]}
    page = fresh().page(between((State.PROPOSED,)), limit=1)
    assert (page.records, page.more) == ([records[2]], True)


def test_what_is_filed_under_another_state_than_it_says_is_found(fresh: Open, ledger_url: str) -> None:
    record, trail = first()
    record = fresh().commit(record, trail=[trail])
    assert list(fresh().index_mismatches()) == []
    if ledger_url.startswith("sqlite:"):
        with sqlite3.connect(ledger_url.removeprefix("sqlite:///")) as connection:
            connection.execute("UPDATE remediations SET state = 'revoked'")
    else:
        from google.cloud.firestore import Client

        project, database = ledger_url.removeprefix("firestore://").split("/")
        document = Client(project=project, database=database).collection("remediations").document(record.id)
        document.update({"state": "revoked"})
    assert list(fresh().index_mismatches()) == [record.id]


def test_a_newer_schema_is_refused_with_what_to_do(fresh: Open, ledger_url: str) -> None:
    fresh().get("r-000000000000")
    _with_schema(ledger_url, 99)
    newest = SCHEMA if ledger_url.startswith("sqlite:") else FIRESTORE_SCHEMA
    with pytest.raises(BadInput, match=f"schema 99; this version reads up to {newest}: upgrade remediate"):
        fresh().get("r-000000000000")


def test_the_first_schema_is_migrated_and_keeps_what_it_holds(tmp_path: Path) -> None:
    record, trail = first()
    record = with_fields(record, version=1)
    path = tmp_path / "ledger.db"
    old = {name: value for name, value in stored_form.to_builtins(record).items() if name not in ("doubts", "approver")}
    with sqlite3.connect(path) as connection:
        connection.executescript(MIGRATIONS[0])
        row = (
            record.id,
            1,
            record.state,
            record.repository,
            record.member,
            record.tally.last_seen,
            msgspec.json.encode(old),
        )
        connection.execute("INSERT INTO remediations VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        values = (record.id, 1, msgspec.json.encode(trail))
        connection.execute("INSERT INTO trail (remediation, seq, record) VALUES (?, ?, ?)", values)
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    for _ in range(2):
        ledger = open_ledger(f"sqlite:///{path}")
        assert ledger.get(record.id) == record
        assert list(ledger.trail()) == [trail]
        assert ledger.modes() == Modes()
        assert ledger.waiting("slack", to_rfc3339(NOON), 10) == []
        assert ledger.page(Filter((State.PROPOSED,), project="shop-front"), longest_waiting=True).records == [record]
        assert ledger.steps(TrailFilter(actor="remediate", project="shop-front")).steps == [trail]
    open_ledger(f"sqlite:///{path}").enqueue([told(0)])
    assert open_ledger(f"sqlite:///{path}").waiting("slack", to_rfc3339(NOON), 10) == [told(0)]


def test_a_trail_of_the_first_version_keeps_its_hashes() -> None:
    _, trail = first()
    known = ("outcome", "rule", "project", "content")
    old = {name: value for name, value in msgspec.to_builtins(trail).items() if name not in known}
    record = msgspec.convert(old, TrailRecord)
    without = msgspec.json.encode({**old, "hash": ""}, order="sorted")
    assert digest(record) == hashlib.sha256(without).hexdigest()


def test_a_switch_is_one_step_and_the_slower_of_two_is_told(fresh: Open) -> None:
    ledger, other = fresh(), fresh()
    assert ledger.modes() == Modes()
    modes, change = switched_alone(Modes(), EVERYWHERE, Mode.ENFORCE, note="go")
    ledger.switch(modes, change)
    with pytest.raises(Conflict):
        other.switch(modes, change)
    assert other.modes() == modes
    later, second = switched_alone(modes, "folders/1", Mode.DRY_RUN, actor="user:b@example.com", note="stop")
    other.switch(later, second)
    with pytest.raises(Conflict):
        ledger.switch(later, second)
    assert (ledger.modes(), list(ledger.mode_changes())) == (later, [change, second])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "postgres://x",
        "ledger.db",
        "firestore://p",
        "firestore:///d",
        "firestore://p/d/e",
    ],
)
def test_a_url_that_is_no_ledger_is_named_with_what_is_accepted(url: str) -> None:
    with pytest.raises(BadInput, match="accepted: sqlite"):
        open_ledger(url)


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, and long enough to be taken for one by nobody" * 20)
    with pytest.raises(BadInput, match=r"notes\.txt"):
        open_ledger(f"sqlite:///{tmp_path / 'notes.txt'}")


def test_places_are_taken_once_a_holder_and_no_more_than_there_are(fresh: Open) -> None:
    ledger = fresh()
    assert [ledger.acquire_slot("hour", 3, f"r-{number}") for number in range(5)] == [True, True, True, False, False]
    assert [fresh().acquire_slot("hour", 3, f"r-{number}") for number in range(4)] == [True, True, True, False]
    assert ledger.acquire_slot("another hour", 3, "r-4")
    assert not ledger.acquire_slot("none", 0, "r-1")


def test_places_are_not_oversold_to_many_at_once(fresh: Open) -> None:
    ledgers = [fresh() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda number: ledgers[number % 4].acquire_slot("rush", 7, f"r-{number}"), range(40)))
    assert sum(taken) == 7


SPELLINGS: list[Callable[[str], str]] = [
    str,
    str.upper,
    lambda member: member.partition(":")[2],
    lambda member: member.partition(":")[2].title(),
    lambda member: member[3:12],
]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=["whole", "whole, in capitals", "address", "Address", "part"])
def test_a_member_is_found_by_the_whole_of_it_or_any_part_in_any_case(
    fresh: Open, spelling: Callable[[str], str]
) -> None:
    record, trail = first()
    record = fresh().commit(record, trail=[trail])
    assert fresh().find(Filter(member=spelling(record.member))) == [record]


def test_what_waits_longest_is_first_and_pages_end_where_the_next_begins(fresh: Open) -> None:
    ledger = fresh()
    made = [first(number, NOON - timedelta(minutes=number // 2))[0] for number in range(7)]
    for record in made:
        ledger.commit(record)
    found: list[Remediation] = []
    page = ledger.page(Filter((State.PROPOSED,)), limit=3, longest_waiting=True)
    while True:
        found += page.records
        if not page.more:
            break
        last = page.records[-1]
        page = ledger.page(
            Filter((State.PROPOSED,)), limit=3, after=Cursor(last.lifecycle.updated, last.id), longest_waiting=True
        )
    assert [each.id for each in found] == [
        each.id for each in sorted(made, key=lambda each: (each.lifecycle.updated, each.id))
    ]


def test_a_remediation_is_found_by_words_and_by_its_projects(fresh: Open) -> None:
    ledger = fresh()
    made = [ledger.commit(first(number)[0]) for number in range(3)]
    assert len(ledger.page(Filter(search_text=("shop-frontend", "Containers", "deployer-1"))).records) == 1
    assert ledger.page(Filter(search_text=("deployer-1", "nothing"))).records == []
    assert len(ledger.page(Filter(project="SHOP-front")).records) == 3
    assert len(ledger.page(Filter(project="platform-images")).records) == 3
    assert ledger.page(Filter(project="containers")).records == []
    assert ledger.page(Filter(search_text=("_", "%"))).records == []
    again = with_denial(made[0], denial(activity(project="shop-backend", insert_id="x")), NOON)
    ledger.commit(again)
    assert [each.id for each in ledger.page(Filter(project="shop-backend")).records] == [again.id]


def test_states_are_counted(fresh: Open) -> None:
    ledger = fresh()
    for number in range(3):
        record, trail = first(number)
        record = ledger.commit(record, trail=[trail])
    rejected, step = transition(record, State.REJECTED, actor="user:ana@example.com", now=NOON)
    ledger.commit(rejected, trail=[step])
    counts = {state: number for state, number in fresh().counts().items() if number}
    assert counts == {State.PROPOSED: 2, State.REJECTED: 1}
    assert fresh().counts((State.PROPOSED, State.REJECTED), most=0) == {State.PROPOSED: 1, State.REJECTED: 1}
    assert fresh().counts((State.PROPOSED,), most=2) == {State.PROPOSED: 2}


def test_transitions_are_found_by_time_and_everything_that_they_say(fresh: Open) -> None:
    ledger = fresh()
    for number in range(4):
        at = NOON + timedelta(hours=number)
        record, trail = first(number, at)
        record = ledger.commit(record, trail=[trail])
        rejected, step = transition(record, State.REJECTED, actor=f"user:ana-{number}@example.com", now=at)
        ledger.commit(rejected, trail=[step])
    one, three = to_rfc3339(NOON + timedelta(hours=1)), to_rfc3339(NOON + timedelta(hours=3))

    def found(**wanted: object) -> list[tuple[str, int]]:
        return [(each.member[5:], each.seq) for each in ledger.steps(msgspec.convert(wanted, TrailFilter)).steps]

    def who(number: int, seq: int) -> tuple[str, int]:
        return f"deployer-{number}@example.com", seq

    assert len(found()) == 8
    assert found(since=one, until=three) == [who(2, 2), who(2, 1), who(1, 2), who(1, 1)]
    assert found(actor="ANA-3") == [who(3, 2)]
    assert found(states=["rejected"], until=one) == [who(0, 2)]
    assert found(outcome="ask", since=three) == [who(3, 1)]
    assert found(outcome="grant") == []
    assert found(member=f"user:{who(1, 1)[0]}") == [who(1, 2), who(1, 1)]
    assert found(member="deployer-1", states=["proposed"]) == [who(1, 1)]
    assert len(found(repository=record.repository)) == len(found(repository="containers")) == 8
    assert len(found(project="shop-front")) == len(found(project="platform-images")) == 8
    assert found(project="containers") == found(member="%") == []
    first_page = ledger.steps(TrailFilter(), limit=3)
    last = first_page.steps[-1]
    rest = ledger.steps(TrailFilter(), limit=9, before=Cursor(last.at, last.remediation, last.seq))
    assert (first_page.more, rest.more, len(rest.steps)) == (True, False, 5)
    assert sorted(each.hash for each in (*first_page.steps, *rest.steps)) == sorted(
        each.hash for each in ledger.trail()
    )


def test_a_store_that_looks_through_a_part_says_so(firestore: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remediate.ledger.firestore._SCANNED", 3)
    ledger = open_ledger(firestore)
    for number in range(5):
        record, trail = first(number, NOON + timedelta(minutes=number))
        record = ledger.commit(record, trail=[trail])
    assert ledger.page(Filter(member="deployer-0")).looked_at == 3
    assert ledger.page(Filter(member=record.member)).looked_at is None
    assert ledger.page(Filter(), limit=2).looked_at is None
    assert ledger.steps(TrailFilter(member="deployer-0")).looked_at == 3
    assert ledger.steps(TrailFilter(), limit=2).looked_at is None


def test_documents_of_an_older_schema_are_found_by_their_last_change(firestore: str) -> None:
    from google.cloud.firestore import DELETE_FIELD, Client

    record, trail = first()
    record = open_ledger(firestore).commit(record, trail=[trail])
    project, database = firestore.removeprefix("firestore://").split("/")
    client = Client(project=project, database=database)
    client.collection("remediations").document(record.id).update({"updated": DELETE_FIELD})
    assert open_ledger(firestore).page(Filter((State.PROPOSED,)), longest_waiting=True).records == []
    _with_schema(firestore, 2)
    assert open_ledger(firestore).page(Filter((State.PROPOSED,)), longest_waiting=True).records == [record]


def test_documents_of_the_fourth_schema_are_in_no_group(firestore: str) -> None:
    from google.cloud.firestore import DELETE_FIELD, Client

    record, trail = first()
    record = open_ledger(firestore).commit(record, trail=[trail])
    project, database = firestore.removeprefix("firestore://").split("/")
    client = Client(project=project, database=database)
    client.collection("remediations").document(record.id).update({"gathered": DELETE_FIELD})
    assert open_ledger(firestore).page(Filter(gathered="")).records == []
    _with_schema(firestore, 4)
    assert open_ledger(firestore).page(Filter(gathered="")).records == [record]


def test_a_full_set_of_places_is_told_at_once(firestore: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood asks for places that are gone again and again; each asking is one write that fails, and one query."""
    ledger = open_ledger(firestore)
    assert all(ledger.acquire_slot("flood", 30, f"r-{number}") for number in range(30))
    calls: list[str] = []
    from remediate.ledger import documents
    from remediate.ledger import firestore_claims as module

    streamed = documents.streamed

    def counted(query: Any) -> Any:
        calls.append("query")
        return streamed(query)

    monkeypatch.setattr(module, "streamed", counted)
    assert not ledger.acquire_slot("flood", 30, "r-30")
    assert calls == ["query"]
    assert ledger.acquire_slot("flood", 30, "r-7")


def test_switches_of_an_older_version_are_read_and_switched_on(fresh: Open, ledger_url: str) -> None:
    modes, change = switched_alone(Modes(), EVERYWHERE, Mode.DRY_RUN)
    old = {
        name: value for name, value in msgspec.to_builtins(modes).items() if name not in ("asked", "loosened", "policy")
    }
    fresh().switch(modes, change)
    text = msgspec.json.encode(old).decode()
    if ledger_url.startswith("sqlite:"):
        with sqlite3.connect(ledger_url.removeprefix("sqlite:///")) as connection:
            connection.execute("UPDATE modes SET record = ?", (text,))
    else:
        from google.cloud.firestore import Client

        project, database = ledger_url.removeprefix("firestore://").split("/")
        Client(project=project, database=database).collection("settings").document("modes").update({"record": text})
    assert fresh().modes() == modes
    for actor, waits in (("user:a@example.com", True), ("user:b@example.com", False)):
        step = switched(fresh().modes(), EVERYWHERE, None, actor=actor, now=NOON, note="", alone=False)
        assert step is not None
        fresh().switch(*step)
        assert (fresh().modes(), bool(fresh().modes().asked)) == (step[0], waits)
    assert checked_switches(fresh())[2] is None
