"""Many at once: processes, threads, reviewers who disagree, and writers outside; nothing is lost, nothing is doubled."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remediate.entries.denial import understand
from remediate.entries.log_entry import read_entry
from remediate.errors import Refused, TransientFault
from remediate.ledger.interface import Filter
from remediate.ledger.opening import open_ledger
from remediate.records.hash_chain import broken_link
from remediate.records.states import State
from remediate.service.remediator import Remediator
from remediate.settings import load_settings
from remediate.wiring import remediator_from
from tests.audit_entries import activity, user_text
from tests.policies import BEFORE_2025
from tests.sandbox_fixture import DEPLOYER, IMAGE, REPOSITORY, ROOT, SandboxProcess

REVIEWERS = ("platform-lead@example.com", "security@example.com")
DENIALS, REPOSITORIES, PROCESSES, THREADS = 500, 5, 4, 8


def _organization(path: Path) -> list[str]:
    """An organization with five repositories in the deploying project, and a hundred deployers each; gives the entries."""
    text = (ROOT / "sandbox" / "example.yaml").read_text()
    repositories = "".join(f"      - {{name: app-{n}, location: us}}\n" for n in range(REPOSITORIES))
    marker = "    repositories:\n      - {name: app,"
    assert marker in text
    text = text.replace(marker, f"    repositories:\n{repositories}      - {{name: app,")
    entries, identities = [], []
    for number in range(DENIALS):
        email = f"deployer-{number}@shop-frontend.iam.gserviceaccount.com"
        identities.append(f"  - serviceAccount:{email}\n")
        image = f"us-docker.pkg.dev/shop-frontend/app-{number % REPOSITORIES}/web"
        entries.append(json.dumps(activity(user_text(image), images=(image,), email=email, insert_id=str(number))))
    path.write_text(text.replace("identities:\n", "identities:\n" + "".join(identities)))
    return entries


def _deliver_all(settings: dict[str, str], entries: list[str], seed: int) -> None:
    remediator = remediator_from(load_settings(settings))

    def deliver(entry: str) -> None:
        while True:
            try:
                # As a sweep hands them on: reading 500 events back would take ten minutes' quota of Cloud Logging.
                remediator.handle(understand(read_entry(entry.encode())), from_log=True)
                return
            except TransientFault:
                continue

    order = entries * 2
    random.Random(seed).shuffle(order)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(deliver, order))


@pytest.mark.timeout(300)
def test_500_denials_on_5_repositories_by_32_workers_delivered_twice(tmp_path: Path, ledger_url: str) -> None:
    entries = _organization(tmp_path / "organization.yaml")
    sandbox = SandboxProcess("--org", str(tmp_path / "organization.yaml"))
    try:
        settings = sandbox.env | {
            "REMEDIATE_MODE": "enforce",
            "REMEDIATE_POLICY": str(BEFORE_2025),
            "REMEDIATE_LEDGER": ledger_url,
            "REMEDIATE_TIMEOUT": "20",
        }
        settings |= {"REMEDIATE_GRANTS_AN_HOUR": str(DENIALS)}
        sandbox.log(*map(json.loads, entries))
        context = multiprocessing.get_context("spawn")
        # Each entry is delivered twice, to two different processes as often as not.
        halves = [
            entries[number::PROCESSES] + entries[(number + 1) % PROCESSES :: PROCESSES] for number in range(PROCESSES)
        ]
        workers = [
            context.Process(target=_deliver_all, args=(settings, half, seed)) for seed, half in enumerate(halves)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(270)
        assert [worker.exitcode for worker in workers] == [0] * PROCESSES
        ledger = open_ledger(ledger_url)
        records = ledger.find(Filter(), limit=DENIALS + 1)
        assert len(records) == DENIALS
        assert {(record.state, record.tally.denials, record.storage.trail) for record in records} == {
            (State.GRANTED, 1, 3)
        }
        assert all(broken_link(record.storage, list(ledger.trail(record.id))) is None for record in records)
        members = [
            (number, member)
            for number in range(REPOSITORIES)
            for member in sandbox.readers(f"projects/shop-frontend/locations/us/repositories/app-{number}")
        ]
        assert len(members) == len(set(members)) == DENIALS
    finally:
        sandbox.close()


class Scene:
    """One proposal, and instances that act on it at the same moment."""

    def __init__(self, sandbox: SandboxProcess, ledger_url: str) -> None:
        self.sandbox = sandbox
        self.settings = sandbox.env | {"REMEDIATE_LEDGER": ledger_url}
        self.ledger = open_ledger(ledger_url)
        denied = activity(user_text(IMAGE), images=(IMAGE,))
        sandbox.log(denied)
        entry = json.dumps(denied).encode()
        handled = self.instance().handle(understand(read_entry(entry)))
        assert handled.remediation
        self.ident = handled.remediation.id

    def instance(self) -> Remediator:
        return remediator_from(load_settings(self.settings))

    def race(self, *acts: Callable[[Remediator], Any]) -> list[Any]:
        """Do these at once, each on an instance of its own; gives what each returned, or was refused with."""
        start = threading.Barrier(len(acts))

        def run(act: Callable[[Remediator], Any]) -> Any:
            instance = self.instance()
            start.wait(10)
            try:
                return act(instance)
            except Refused as refused:
                return refused

        with ThreadPoolExecutor(len(acts)) as pool:
            return list(pool.map(run, acts))

    def check(self, *states: State) -> None:
        record = self.ledger.get(self.ident)
        assert record
        assert record.state in states
        assert broken_link(record.storage, list(self.ledger.trail(self.ident))) is None
        assert (DEPLOYER in self.sandbox.readers()) == (record.state is State.GRANTED)
        assert self.sandbox.readers().count(DEPLOYER) <= 1


@pytest.fixture
def scene(sandbox_server: SandboxProcess, ledger_url: str) -> Scene:
    return Scene(sandbox_server, ledger_url)


@pytest.mark.parametrize("turn", range(3))
def test_of_approval_and_rejection_one_wins_and_the_other_is_told(scene: Scene, turn: int) -> None:
    one, two = REVIEWERS
    results = scene.race(
        lambda instance: instance.approve(scene.ident, actor=one),
        lambda instance: instance.reject(scene.ident, actor=two, note=f"turn {turn}"),
    )
    assert sum(isinstance(result, Refused) for result in results) == 1
    scene.check(State.GRANTED, State.REJECTED)


def test_eight_approvals_are_one_grant(scene: Scene) -> None:
    acts = [lambda instance: instance.approve(scene.ident, actor=REVIEWERS[0])] * 8
    results = scene.race(*acts)
    assert not any(isinstance(result, Refused) for result in results)
    assert scene.sandbox.requests(":setIamPolicy") >= 1
    scene.check(State.GRANTED)
    assert [step.after for step in scene.ledger.trail(scene.ident)] == [State.PROPOSED, State.APPROVED, State.GRANTED]


def test_a_revocation_beside_an_expiry_takes_away_once(scene: Scene) -> None:
    scene.instance().approve(scene.ident, actor=REVIEWERS[0], max_duration=timedelta(microseconds=1))
    scene.race(
        lambda instance: instance.revoke(scene.ident, actor=REVIEWERS[1], note="x"),
        lambda instance: list(instance.sweep()),
        lambda instance: list(instance.sweep()),
    )
    scene.check(State.REVOKED, State.EXPIRED)
    assert len(list(scene.ledger.trail(scene.ident))) == 4


def test_an_approval_beside_a_writer_outside_loses_neither(scene: Scene) -> None:
    scene.sandbox.faults(
        {"match": "setIamPolicy", "effect": "racing_writer", "times": 3, "member": "user:ana@example.com"}
    )
    scene.instance().approve(scene.ident, actor=REVIEWERS[0])
    scene.check(State.GRANTED)
    assert "user:ana@example.com" in scene.sandbox.readers()
    assert REPOSITORY in scene.sandbox.policies()


@pytest.mark.parametrize("turn", range(3))
def test_approvals_beside_a_revocation_leave_what_the_record_says(scene: Scene, turn: int) -> None:
    def revoke(instance: Remediator) -> None:
        for _ in range(200):
            with contextlib.suppress(Refused):
                instance.revoke(scene.ident, actor=REVIEWERS[1], note=f"turn {turn}")
                return

    scene.race(*[lambda instance: instance.approve(scene.ident, actor=REVIEWERS[0])] * 4, revoke)
    scene.check(State.GRANTED, State.REVOKED)


def test_an_approval_beside_a_sweep_that_lets_it_lapse_is_one_or_the_other(scene: Scene) -> None:
    def late(_: Remediator) -> list[Any]:
        later = remediator_from(load_settings(scene.settings), clock=lambda: datetime.now(UTC) + timedelta(days=8))
        return list(later.sweep())

    scene.race(lambda instance: instance.approve(scene.ident, actor=REVIEWERS[0]), late)
    scene.check(State.GRANTED, State.LAPSED)
