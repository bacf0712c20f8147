"""Whatever dies, and whatever Google Cloud does: one remediation, one binding, one trail record a transition, one write.

The suite runs a delivery once to learn its I/O steps, then kills a real process before and after each of them, and makes
each request to Google Cloud go wrong in every way; and redelivers, as Pub/Sub does.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import uuid
from typing import Any

import pytest

from remediate.entries.denial import understand
from remediate.entries.log_entry import read_entry
from remediate.errors import TransientFault
from remediate.ledger.interface import Filter
from remediate.ledger.opening import open_ledger
from remediate.records.hash_chain import digest
from remediate.records.remediation import State
from remediate.records.results import Handled
from remediate.settings import load_settings
from remediate.wiring import remediator_from
from tests.audit_entries import activity, user_text
from tests.policies import BEFORE_2025
from tests.sandbox_fixture import AGENT, DEPLOYER, IMAGE, REPOSITORY, ROOT, SandboxProcess

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
        """Deliver in a process that dies at this step; 0: at none, and it prints its steps."""
        return self.acted("deliver", ENTRIES[self.kind], step, when)

    def acted(self, act: str, argument: str, step: int = 0, when: str = "before") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.faults.act", act, argument, str(step), when]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("REMEDIATE_")}
        return subprocess.run(command, cwd=ROOT, env=clean | self.settings, capture_output=True, text=True, check=False)

    def deliver(self) -> Handled:
        """Deliver here, again and again as Pub/Sub does, until it ends."""
        remediator = remediator_from(load_settings(self.settings))
        for _ in range(20):
            try:
                return remediator.handle(understand(read_entry(ENTRIES[self.kind].encode())))
            except TransientFault:
                continue
        raise AssertionError("twenty deliveries, and none ended")

    def check(self) -> None:
        """What has to hold afterwards, whatever happened in between."""
        ledger = open_ledger(self.ledger_url)
        records = ledger.find(Filter())
        assert {(r.repository, r.member, r.state, r.denials, r.trail) for r in records} == EXPECTED[self.kind]
        for record in records:
            trail = list(ledger.trail(record.id))
            assert [step.seq for step in trail] == list(range(1, record.trail + 1))
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
        """How many policy writes were carried out, by Google Cloud's own audit log."""
        projects = ["projects/shop-frontend", "projects/platform-images"]
        wanted = {"resourceNames": projects, "filter": 'protoPayload.methodName:"SetIamPolicy"'}
        return len(self.sandbox.call("POST", "/v2/entries:list", wanted)[1]["entries"])


@pytest.fixture(params=ENTRIES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _fresh_url(url: str) -> str:
    """Another empty ledger of the same implementation."""
    name = uuid.uuid4().hex[:12]
    return url.replace("ledger.db", f"{name}.db").replace("remediate-test", f"remediate-{name}")


def test_a_process_killed_at_any_step_is_healed_by_the_next_delivery(
    sandbox_server: SandboxProcess, ledger_url: str, kind: str
) -> None:
    whole = Incident(sandbox_server, ledger_url, kind)
    done = whole.in_a_process(0, "before")
    assert done.returncode == 0, done.stderr
    steps: list[str] = json.loads(done.stdout)
    assert {"ledger.commit", "ledger.counted"} <= set(steps)
    assert any(step.startswith("GET ") for step in steps)
    assert any("setIamPolicy" in step for step in steps) == (kind == "grant")
    whole.check()
    # Between one step and the next nothing is done outside: just after the one is just before the next.
    for number, when in [(1, "before"), *((number, "after") for number in range(1, len(steps) + 1))]:
        sandbox = SandboxProcess()
        try:
            incident = Incident(sandbox, _fresh_url(ledger_url), kind)
            assert incident.in_a_process(number, when).returncode == -signal.SIGKILL, (when, steps[number - 1])
            incident.deliver()
            incident.deliver()
            incident.check()
        finally:
            sandbox.close()


FAULTS: dict[str, dict[str, Any]] = {
    "409": {"effect": "status", "code": 409, "times": 2},
    "429": {"effect": "status", "code": 429, "times": 2},
    "503": {"effect": "status", "code": 503, "times": 2},
    "503 for long": {"effect": "status", "code": 503, "times": 12},
    "a lost answer": {"effect": "lost_answer", "times": 1},
    "no answer": {"effect": "timeout", "seconds": 1.1, "times": 1},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_every_request_may_go_wrong_in_every_way(
    sandbox_server: SandboxProcess, ledger_url: str, kind: str, fault: dict[str, Any]
) -> None:
    whole = Incident(sandbox_server, ledger_url, kind)
    steps = json.loads(whole.in_a_process(0, "before").stdout)
    requests = sorted({step.partition("?")[0] for step in steps if not step.startswith("ledger.")})
    assert len(requests) >= 4
    for request in requests:
        sandbox = SandboxProcess()
        try:
            incident = Incident(sandbox, _fresh_url(ledger_url), kind)
            sandbox.faults({"match": request.replace(".", r"\."), **fault})
            incident.deliver()
            incident.check()
        finally:
            sandbox.close()
