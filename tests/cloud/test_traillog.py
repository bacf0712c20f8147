"""What is decided outside of the service leaves its line in Cloud Logging too: ledger and log are two witnesses."""

from __future__ import annotations

from typing import Any

import msgspec

from remediate.decisions.policy import Mode
from remediate.ledger.opening import open_ledger
from remediate.records.modes import ModeChange
from remediate.records.remediation import TrailRecord
from remediate.settings import load_settings
from remediate.wiring import remediator_from, trail_log_from
from tests.audit_entries import activity, denial, user_text
from tests.sandbox_fixture import IMAGE, SandboxProcess

REVIEWER = "platform-lead@example.com"
PROJECT = "shop-frontend"


def lines(sandbox: SandboxProcess) -> list[dict[str, Any]]:
    wanted = {"resourceNames": [f"projects/{PROJECT}"], "filter": "jsonPayload.trail:*", "orderBy": "timestamp asc"}
    return list(sandbox.call("POST", "/v2/entries:list", wanted)[1].get("entries", []))


def test_every_transition_and_switch_of_a_command_is_a_line_once(
    sandbox_server: SandboxProcess, firestore: str
) -> None:
    ledger = firestore.replace("remediate-test", PROJECT)
    settings = load_settings(sandbox_server.env | {"REMEDIATE_LEDGER": ledger})
    failed: list[str] = []
    told = trail_log_from(settings, failed.append)
    remediator = remediator_from(settings, told)
    entry = activity(user_text(IMAGE), images=(IMAGE,))
    sandbox_server.log(entry)
    record = remediator.handle(denial(entry)).remediation
    assert record
    remediator.approve(record.id, actor=REVIEWER)
    remediator.switch("everywhere", Mode.DRY_RUN, actor=REVIEWER, note="stop")
    steps: list[TrailRecord | ModeChange] = [*open_ledger(ledger).trail(), *open_ledger(ledger).mode_changes()]
    found = lines(sandbox_server)
    assert {line["jsonPayload"]["trail"]["hash"] for line in found} == {step.hash for step in steps}
    assert len(found) == len(steps) == 5
    assert all(line["logName"] == f"projects/{PROJECT}/logs/remediate" for line in found)
    assert found[-1]["jsonPayload"]["trail"] == msgspec.to_builtins(steps[-1])
    assert failed == []


def test_a_line_that_cannot_be_written_stops_nothing(sandbox_server: SandboxProcess, firestore: str) -> None:
    ledger = firestore.replace("remediate-test", f"{PROJECT}-2")
    settings = load_settings(sandbox_server.env | {"REMEDIATE_LEDGER": ledger})
    failed: list[str] = []
    sandbox_server.faults({"match": "entries:write", "effect": "status", "code": 403})
    remediator = remediator_from(settings, trail_log_from(settings, failed.append))
    assert remediator.switch("everywhere", Mode.DRY_RUN, actor=REVIEWER, note="stop").version == 1
    [warning] = failed
    assert warning.startswith(
        "the ledger has this transition, but writing it to Cloud Logging failed: write the trail's line: 403"
    )
