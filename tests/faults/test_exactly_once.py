"""Whatever dies, and whatever Google Cloud does: one remediation, one binding, one trail record a transition, one write.

The suite runs a delivery once to learn its I/O steps, then kills a real process before and after each of them, and makes
each request to Google Cloud go wrong in every way; and redelivers, as Pub/Sub does.
"""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from remediate.ledger.interface import Ledger
from tests.faults.incident import ENTRIES, FAULTS, Incident, each, fresh_url, running
from tests.sandbox_fixture import SandboxProcess


@pytest.fixture(params=ENTRIES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_process_killed_at_any_step_is_healed_by_the_next_delivery(
    sandbox_server: SandboxProcess, ledger_url: str, kind: str
) -> None:
    whole = Incident(sandbox_server, ledger_url, kind)
    done = whole.in_a_process(0, "before")
    assert done.returncode == 0, done.stderr
    steps: list[str] = json.loads(done.stdout)
    assert {f"ledger.{call.__name__}" for call in (Ledger.commit, Ledger.is_counted)} <= set(steps)
    assert any(step.startswith("GET ") for step in steps)
    assert any("setIamPolicy" in step for step in steps) == (kind == "grant")
    whole.check()
    # Between one step and the next nothing is done outside: just after the one is just before the next.

    def killed(case: tuple[int, str, str]) -> None:
        number, when, _ = case
        with running() as sandbox:
            incident = Incident(sandbox, fresh_url(ledger_url), kind)
            assert incident.in_a_process(number, when).returncode == -signal.SIGKILL
            incident.deliver()
            incident.deliver()
            incident.check()

    each(killed, [(1, "before", steps[0]), *((number, "after", name) for number, name in enumerate(steps, 1))])


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_every_request_may_go_wrong_in_every_way(
    sandbox_server: SandboxProcess, ledger_url: str, kind: str, fault: dict[str, Any]
) -> None:
    whole = Incident(sandbox_server, ledger_url, kind)
    steps = json.loads(whole.in_a_process(0, "before").stdout)
    requests = sorted({step.partition("?")[0] for step in steps if not step.startswith("ledger.")})
    assert len(requests) >= 4

    def wrong(request: str) -> None:
        with running() as sandbox:
            incident = Incident(sandbox, fresh_url(ledger_url), kind)
            sandbox.faults({"match": request.replace(".", r"\."), **fault})
            incident.deliver()
            incident.check()

    each(wrong, requests)
