"""`python -m bench.pages [COUNT] [sqlite|firestore]`: the server's time for each page with COUNT remediations."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import flask
import msgspec
from werkzeug.test import EnvironBuilder

from remediate.decisions.policy import decide
from remediate.entries.denial import Deploy, ResourceKind
from remediate.ledger import documents, firestore
from remediate.ledger.interface import Ledger
from remediate.ledger.opening import open_ledger
from remediate.ledger.sqlite import SqliteLedger
from remediate.records import stored_form
from remediate.records.lifecycle import open_remediation, transition
from remediate.records.remediation import Remediation, Storage, TrailRecord
from remediate.records.states import State
from remediate.settings import Settings
from remediate.wiring import remediator_from, review_from
from tests.audit_entries import activity, denial
from tests.emulator import sdk_file
from tests.firestore_fixture import JAR, MAIN

_PAGES = {
    "inbox": "/",
    "inbox, next page": "/?after=2026-08-01T00:00:00.000000Z~r-000000000000",
    "inbox, all states": "/?state=all",
    "inbox, a whole member": "/?state=all&member=serviceAccount:deployer-{middle}@shop-0.iam.gserviceaccount.com",
    "inbox, a whole repository": "/?state=all&repository=projects/images-3/locations/us/repositories/r-3",
    "inbox, two words that few have": "/?state=all&q=deployer-{middle}+shop",
    "inbox, a word that none has": "/?state=all&q=nobody",
    "trail": "/trail",
    "trail, one day": "/trail?since=2026-10-01&until=2026-10-02",
    "trail, a whole member": "/trail?member=serviceAccount:deployer-{middle}@shop-0.iam.gserviceaccount.com",
    "trail, a state and a decision": "/trail?state=proposed&outcome=ask",
    "trail, an actor that none is": "/trail?actor=nobody",
    "inbox, granted, a word that none has": "/?state=granted&q=nobody",
    "map": "/map",
    "map, one project": "/map?project=shop-7",
    "mode": "/mode",
}


def main() -> None:
    """Fill and measure each ledger; the Firestore emulator only if it is installed."""
    if "--help" in sys.argv:
        print(__doc__)
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    if "firestore" not in sys.argv:
        _sqlite(count)
    if "sqlite" not in sys.argv and (jar := sdk_file(JAR)) is not None:
        with _emulator(jar):
            url = "firestore://bench/(default)"
            ledger = open_ledger(url)
            ledger.counts()  # creates the schema, which is checked once
            _fill(count)
            _measure(f"Firestore emulator, {count:,} remediations", ledger, url, count)


def _sqlite(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        sqlite = SqliteLedger(path)
        with sqlite._writing() as connection:
            for record, steps in _lives(count):
                known = open_row(record)
                connection.execute("INSERT INTO remediations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", known)
                for step in steps:
                    values = (step.remediation, step.seq, msgspec.json.encode(step))
                    connection.execute("INSERT INTO trail (remediation, seq, record) VALUES (?, ?, ?)", values)
        _measure(f"SQLite, {count:,} remediations", sqlite, f"sqlite:///{path}", count)


def open_row(record: Remediation) -> tuple[object, ...]:
    """A remediation as a row of the SQLite ledger's table."""
    from remediate.ledger.interface import words

    return (
        record.id, record.storage.version, record.state, record.repository, record.member, record.tally.last_seen,
        stored_form.encode(record), record.lifecycle.updated, words(record), record.tally.gathered,
    )  # fmt: skip


def _lives(count: int) -> Iterator[tuple[Remediation, list[TrailRecord]]]:
    """Remediations one minute apart, over two hundred projects and forty repositories; a tenth of them is proposed."""
    found = denial(activity())
    decision = decide(found)
    start = datetime(2026, 11, 20, tzinfo=UTC) - timedelta(minutes=count)
    blank, _ = open_remediation(found, decision, State.PROPOSED, actor="remediate", now=start)
    for number in range(count):
        at = start + timedelta(minutes=number)
        project = f"shop-{number % 200}"
        deploy = Deploy(project, str(10**11 + number % 200), "us-central1", ResourceKind.SERVICE, "web")
        record = msgspec.structs.replace(
            blank,
            id=f"r-{number:012x}",
            repository=f"projects/images-{number % 8}/locations/us/repositories/r-{number % 40}",
            member=f"serviceAccount:deployer-{number}@{project}.iam.gserviceaccount.com",
            tally=msgspec.structs.replace(blank.tally, deploys=(deploy,)),
            state=State.GRANTED,
            storage=Storage(),
        )
        state = State.PROPOSED if number % 10 == 0 else State.GRANTED
        record = msgspec.structs.replace(record, state=State.REJECTED)
        record, first = transition(record, State.PROPOSED, actor="remediate", now=at, decision=decision)
        steps = [first]
        if state is State.GRANTED:
            for following in (State.APPROVED, State.GRANTED):
                record, step = transition(record, following, actor="user:lead@example.com", now=at + timedelta(hours=1))
                steps.append(step)
        tally = msgspec.structs.replace(record.tally, last_seen=first.at)
        storage = msgspec.structs.replace(record.storage, version=1)
        yield msgspec.structs.replace(record, tally=tally, storage=storage), steps


def _fill(count: int) -> None:
    from google.cloud.firestore import Client

    client = Client(project="bench", database="(default)")
    batch, waiting = client.batch(), 0
    for record, steps in _lives(count):
        document = client.collection("remediations").document(record.id)
        fields = {"version": 1, "state": str(record.state), "repository": record.repository, "member": record.member}
        fields |= {"last_seen": record.tally.last_seen, "updated": record.lifecycle.updated}
        batch.set(document, fields | {"record": stored_form.encode(record).decode()})
        for step in steps:
            one = document.collection("trail").document(f"{step.seq:08d}")
            batch.set(one, {"at": step.at, "record": msgspec.json.encode(step).decode()})
        waiting += 1 + len(steps)
        if waiting > 400:
            batch.commit(timeout=60)
            batch, waiting = client.batch(), 0
    if waiting:
        batch.commit(timeout=60)


@contextlib.contextmanager
def _emulator(jar: Path) -> Iterator[None]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["java", "-Xmx6g", "-cp", str(jar), MAIN, "--host=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.environ["FIRESTORE_EMULATOR_HOST"] = f"127.0.0.1:{port}"
    try:
        threading.Event().wait(5)
        yield
    finally:
        process.kill()


def _measure(what: str, ledger: Ledger, url: str, count: int) -> None:
    settings = Settings(ledger=url, endpoints={"ARTIFACTREGISTRY": "http://127.0.0.1:9"}, secret="s" * 32)
    if url.startswith("firestore"):
        for module in (documents, firestore):  # the emulator has no indexes: it scans and sorts all for every query
            module.__dict__["TIMEOUT"] = 300.0
        from remediate.review.identity import LocalIdentity
        from remediate.review.pages import Review
        from remediate.wiring import clock, limits_from

        identity = LocalIdentity(settings.local_reviewer)
        remediator = remediator_from(settings)
        pages = Review(remediator, ledger, identity, "s" * 32, clock, configured=None, limits=limits_from(settings))
    else:
        pages = review_from(settings, remediator_from(settings))
    app = flask.Flask("bench")
    for name, path in _PAGES.items():
        taken, worked = [], []
        for _ in range(3 if url.startswith("firestore") else 8):
            builder = EnvironBuilder(path.format(middle=count // 2), base_url="http://127.0.0.1")
            environ = builder.get_environ() | {"REMOTE_ADDR": "127.0.0.1"}
            with app.request_context(environ):
                started, busy = time.perf_counter(), time.process_time()
                answer = pages.answer(flask.request)
                answer.get_data()
                taken.append((time.perf_counter() - started) * 1000)
                worked.append((time.process_time() - busy) * 1000)
            assert answer.status_code == 200, (name, answer.get_data(as_text=True)[:500])
        whole, own = statistics.median(taken[1:]), statistics.median(worked[1:])
        print(f"{what}: {name}: median {whole:.1f} ms, of that {own:.1f} ms our own processor time", flush=True)


if __name__ == "__main__":
    main()
