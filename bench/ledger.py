"""`python -m bench.ledger [COUNT]`: the time of a look-up and of a page with COUNT remediations, on both ledgers."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bench.pages import open_row
from remediate.decisions.policy import decide
from remediate.ledger.interface import Filter, Ledger
from remediate.ledger.opening import open_ledger
from remediate.ledger.sqlite import SqliteLedger
from remediate.records import stored_form
from remediate.records.lifecycle import open_remediation
from remediate.records.remediation import Remediation
from remediate.records.states import State
from tests.audit_entries import activity, denial
from tests.emulator import sdk_file
from tests.firestore_fixture import JAR, MAIN

_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
_BATCH = 500


def main() -> None:
    """Fill and measure each ledger; the Firestore emulator only if it is installed."""
    if "--help" in sys.argv:
        print(__doc__)
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        sqlite = SqliteLedger(path)
        with sqlite._writing() as connection:
            for record in _records(count):
                connection.execute("INSERT INTO remediations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", open_row(record))
        _measure(f"SQLite, {count:,} remediations", sqlite, count)
    jar = sdk_file(JAR)
    if jar is not None:
        _firestore(jar, count)


def _firestore(jar: Path, count: int) -> None:
    from google.cloud.firestore import Client

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["java", "-Xmx12g", "-cp", str(jar), MAIN, "--host=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(5)
        os.environ["FIRESTORE_EMULATOR_HOST"] = f"127.0.0.1:{port}"
        client = Client(project="bench", database="(default)")
        batch = client.batch()
        for number, record in enumerate(_records(count), 1):
            fields = {"version": 1, "state": str(record.state), "repository": record.repository}
            fields |= {"member": record.member, "last_seen": record.tally.last_seen}
            fields |= {"record": stored_form.encode(record).decode()}
            batch.set(client.collection("remediations").document(record.id), fields)
            if number % _BATCH == 0 or number == count:
                batch.commit(timeout=60)
                batch = client.batch()
        _measure(f"Firestore emulator, {count:,} remediations", open_ledger("firestore://bench/(default)"), count)
    finally:
        process.kill()


def _records(count: int) -> list[Remediation]:
    """Remediations one second apart, in a hundred repositories; every tenth one is open."""
    found = denial(activity())
    record, _ = open_remediation(found, decide(found), State.PROPOSED, actor="remediate", now=_NOON)
    states = (State.PROPOSED, *[State.GRANTED] * 9)
    return [
        msgspec.structs.replace(
            record,
            id=f"r-{number:012x}",
            state=states[number % 10],
            repository=f"projects/images/locations/us/repositories/r-{number % 100}",
            member=f"serviceAccount:deployer-{number}@shop.iam.gserviceaccount.com",
            tally=msgspec.structs.replace(record.tally, last_seen=(_NOON + timedelta(seconds=number)).isoformat()),
            storage=msgspec.structs.replace(record.storage, version=1),
        )
        for number in range(count)
    ]


def _measure(what: str, ledger: Ledger, count: int) -> None:
    middle = f"r-{count // 2:012x}"
    member = f"serviceAccount:deployer-{count // 2}@shop.iam.gserviceaccount.com"
    repository = "projects/images/locations/us/repositories/r-7"
    first = ledger.find(Filter(), limit=100)
    _tell(f"{what}: one by its id", lambda: ledger.get(middle))
    _tell(f"{what}: the first page of 100", lambda: ledger.find(Filter(), limit=100))
    _tell(f"{what}: the next page", lambda: ledger.find(Filter(), limit=100, after=first[-1]))
    _tell(f"{what}: a page by state", lambda: ledger.find(Filter((State.PROPOSED,)), limit=100))
    _tell(f"{what}: a page by repository", lambda: ledger.find(Filter(repository=repository), limit=100))
    _tell(f"{what}: by member", lambda: ledger.find(Filter(member=member), limit=100))


def _tell(what: str, act: Callable[[], object]) -> None:
    act()
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        act()
        taken.append((time.perf_counter() - started) * 1000)
    print(f"{what}: median {statistics.median(taken):.1f} ms (max {max(taken):.1f})", flush=True)


if __name__ == "__main__":
    main()
