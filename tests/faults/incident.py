"""Delivers one log entry to its own sandbox and ledger until it is acknowledged."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from remediate.entries.denial import understand
from remediate.entries.log_entry import read_entry
from remediate.errors import TransientFault
from remediate.ledger.interface import Filter
from remediate.ledger.opening import open_ledger
from remediate.records.hash_chain import digest
from remediate.records.results import Handled
from remediate.records.states import State
from remediate.settings import load_settings
from remediate.wiring import remediator_from
from tests import warm
from tests.audit_entries import activity, user_text
from tests.policies import BEFORE_2025
from tests.sandbox_fixture import AGENT, DEPLOYER, IMAGE, REPOSITORY, SandboxProcess

_Case = TypeVar("_Case")
SAME_IMAGE = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"
SAME_REPOSITORY = "projects/shop-frontend/locations/asia-northeast1/repositories/app"
ENTRIES = {
    "grant": json.dumps(activity(user_text(SAME_IMAGE), images=(SAME_IMAGE,))),
    "ask": json.dumps(activity(user_text(IMAGE), images=(IMAGE,))),
}
EXPECTED = {
    "grant": {(SAME_REPOSITORY, DEPLOYER, State.GRANTED, 1, 3)},
    "ask": {(REPOSITORY, DEPLOYER, State.PROPOSED, 1, 1), (REPOSITORY, AGENT, State.PROPOSED, 0, 1)},
}
FAULTS: dict[str, dict[str, Any]] = {
    "409": {"effect": "status", "code": 409, "times": 2},
    "429": {"effect": "status", "code": 429, "times": 2},
    "503": {"effect": "status", "code": 503, "times": 2},
    "503 for long": {"effect": "status", "code": 503, "times": 12},
    "a lost answer": {"effect": "lost_answer", "times": 1},
    "no answer": {"effect": "timeout", "seconds": 1.1, "times": 1},
}


class Incident:
    """A sandbox, a ledger, and one log entry that is delivered until it is acknowledged."""

    def __init__(self, sandbox: SandboxProcess, ledger_url: str, kind: str) -> None:
        self.sandbox, self.ledger_url, self.kind = sandbox, ledger_url, kind
        settings = {"REMEDIATE_MODE": "enforce", "REMEDIATE_TIMEOUT": "1", "REMEDIATE_ORGANIZATION": "400000000001"}
        settings |= {"REMEDIATE_POLICY": str(BEFORE_2025)}
        self.settings = sandbox.env | settings | {"REMEDIATE_LEDGER": ledger_url}
        self.before = sandbox.policies()
        sandbox.log(json.loads(ENTRIES[kind]))

    def in_a_process(self, step: int, when: str) -> subprocess.CompletedProcess[str]:
        """Deliver in a process that dies at this step. Step 0: it does not die and prints its steps."""
        return self.acted("deliver", ENTRIES[self.kind], step, when)

    def acted(self, act: str, argument: str, step: int = 0, when: str = "before") -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("REMEDIATE_")}
        return warm.run_text("tests.faults.act", act, argument, str(step), when, env=clean | self.settings)

    def deliver(self) -> Handled:
        """Deliver in this process, repeatedly as Pub/Sub does, until it ends."""
        remediator = remediator_from(load_settings(self.settings))
        for _ in range(20):
            try:
                return remediator.handle(understand(read_entry(ENTRIES[self.kind].encode())))
            except TransientFault:
                continue
        raise AssertionError("twenty deliveries, and none ended")

    def check(self) -> None:
        """Check what must be true at the end after any fault."""
        ledger = open_ledger(self.ledger_url)
        records = ledger.find(Filter())
        assert {(r.repository, r.member, r.state, r.tally.denials, r.storage.trail) for r in records} == EXPECTED[
            self.kind
        ]
        for record in records:
            trail = list(ledger.trail(record.id))
            assert [step.seq for step in trail] == list(range(1, record.storage.trail + 1))
            assert all(step.hash == digest(step) for step in trail)
            assert [step.previous for step in trail] == ["", *(step.hash for step in trail[:-1])]
        expected = copy.deepcopy(self.before)
        after = self.sandbox.policies()
        if self.kind == "grant":
            expected[SAME_REPOSITORY] |= {
                "bindings": [{"role": "roles/artifactregistry.reader", "members": [DEPLOYER]}]
            }
            for policy in (expected[SAME_REPOSITORY], after[SAME_REPOSITORY]):
                policy.pop("etag")
                policy.pop("version", None)
        assert after == expected
        assert self.written() == (self.kind == "grant")

    def written(self) -> int:
        """The number of policy writes in the sandbox's audit log."""
        projects = ["projects/shop-frontend", "projects/platform-images"]
        wanted = {"resourceNames": projects, "filter": 'protoPayload.methodName:"SetIamPolicy"'}
        return len(self.sandbox.call("POST", "/v2/entries:list", wanted)[1]["entries"])


@contextmanager
def running() -> Iterator[SandboxProcess]:
    """A sandbox for the duration of the block."""
    sandbox = SandboxProcess()
    try:
        yield sandbox
    finally:
        sandbox.close()


def each(run: Callable[[_Case], None], cases: Iterable[_Case]) -> None:
    """Run all cases, several at once because most of them wait. Names the first that fails."""

    def one(case: _Case) -> None:
        try:
            run(case)
        except BaseException as error:
            error.add_note(f"case: {case}")
            raise

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(one, cases))


def fresh_url(url: str) -> str:
    """Another empty ledger of the same implementation."""
    name = uuid.uuid4().hex[:12]
    return url.replace("ledger.db", f"{name}.db").replace("remediate-test", f"remediate-{name}")
