"""What alerts, metrics and the trail look for is what the service really says: its own lines, through the plan's filters."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediate.cli.sweep import _SweepLines
from remediate.cloud import traillog
from remediate.decisions.policy import Mode
from remediate.log_lines import TRAIL_FILTER, LogEvents, configure
from remediate.records.events import NO_EVENTS, Events
from remediate.records.modes import ModeChange, Modes, lapsed, policy_confirmed, switched
from remediate.records.remediation import TrailRecord
from sandbox.logfilter import compile_filter
from tests.audit_entries import activity, push_body, user_text
from tests.deploy.paper import PROJECT, Plan
from tests.notify.scene import Scene
from tests.sandbox_fixture import ROOT, SandboxProcess
from tests.wire.function_fixture import FunctionProcess

SAME = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"
LEGACY = "us-docker.pkg.dev/shop-frontend/gcr.io/legacy:v1"
RESOURCE = {"type": "cloud_run_revision", "labels": {"service_name": "remediate-receiver"}}
PAGES = {"type": "cloud_run_revision", "labels": {"service_name": "remediate-review"}}
JOB = {"type": "cloud_run_job", "labels": {"job_name": "remediate-sweep"}}
DUE = {"type": "cloud_run_job", "labels": {"job_name": "remediate-due"}}
STDOUT = f"projects/{PROJECT}/logs/run.googleapis.com%2Fstdout"
WHEN = datetime(2026, 11, 23, 12, tzinfo=UTC)


def entry(line: dict[str, Any], resource: dict[str, Any] = RESOURCE) -> dict[str, Any]:
    """The log entry that Cloud Logging makes of a line ("Structured logging")."""
    fields = {name: value for name, value in line.items() if name != "severity"}
    return {"resource": resource, "severity": line["severity"], "jsonPayload": fields, "logName": STDOUT}


def test_each_signal_sees_its_line_and_no_other(
    plans: dict[tuple[str, str], Plan], sandbox_server: SandboxProcess, tmp_path: Path
) -> None:
    receiver = FunctionProcess(sandbox_server, tmp_path, REMEDIATE_MODE="enforce", REMEDIATE_GRANTS_TO_A_MEMBER="1")
    try:
        for number, image in enumerate((SAME, LEGACY)):
            told = activity(user_text(image), images=(image,), insert_id=str(number))
            assert receiver.push(push_body(told), str(number)) == 200
        receiver.push({"message": {"data": "!!!"}}, "2", logged=False)
        lines = [entry(each) for each in [*receiver.lines(3), *receiver.lines(4, trail=True)]]
    finally:
        receiver.close()

    plan = plans["organization", "enforce"]
    metrics = {
        each["name"].removeprefix("remediate-"): each["filter"] for each in plan.of("google_logging_metric").values()
    }
    [brake] = [
        condition["condition_matched_log"][0]["filter"]
        for name, each in plan.of("google_monitoring_alert_policy").items()
        for condition in each["conditions"]
        if "brake" in name
    ]
    [trail] = [each["filter"] for each in plan.of("google_logging_project_sink").values()]

    def seen(text: str) -> list[str]:
        matches = compile_filter(text)
        return [each["jsonPayload"]["message"] for each in lines if matches(each)]

    understood = seen(metrics["understood"])
    assert [each.partition(":")[0] for each in understood] == ["grant", "ask"]
    assert seen(brake) == understood[1:]
    canary = dict(lines[0], jsonPayload=lines[0]["jsonPayload"] | {"insert_id": "canary-1"})
    assert compile_filter(metrics["understood"])(lines[0])
    assert not compile_filter(metrics["understood"])(
        canary
    )  # else a daily doctor would hide that nothing is understood
    assert seen(metrics["not-understood"]) == ["unreadable event"]
    steps = seen(trail)
    assert [each.partition(": ")[2].partition(" by ")[0] for each in steps] == [
        "new -> proposed",
        "proposed -> approved",
        "approved -> granted",
        "new -> proposed",
    ]
    assert seen(metrics["told-writes"]) == steps[2:3]
    granted = next(each for each in lines if each["jsonPayload"]["message"] == steps[2])
    renewal = granted["jsonPayload"] | {"trail": granted["jsonPayload"]["trail"] | {"before": "granted"}}
    assert not compile_filter(metrics["told-writes"])(granted | {"jsonPayload": renewal})  # it writes no policy
    assert seen(metrics["errors"]) == understood[1:]  # an ALERT is above an ERROR


# The trail


def steps(tmp_path: Path) -> dict[str, TrailRecord | ModeChange]:
    """A step of each kind that has a hash."""
    scene = Scene(f"sqlite:///{tmp_path / 'ledger.db'}", mode="enforce")
    scene.denied_at_home()
    opened, *_ = scene.ledger.trail()
    by_two: dict[str, Any] = {"actor": "user:ana@example.com", "now": WHEN, "note": "why", "alone": False}
    by_one = by_two | {"alone": True}
    asked = switched(Modes(), "everywhere", Mode.ENFORCE, **by_two)
    switch = switched(Modes(), "folders/1", Mode.DRY_RUN, **by_one)
    loosened = switched(Modes(), "everywhere", Mode.ENFORCE, **by_one)
    confirmed = policy_confirmed(Modes(), "0" * 64, **by_one)
    assert asked
    assert switch
    assert loosened
    assert confirmed
    ended = lapsed(asked[0], actor="remediate", now=WHEN + timedelta(days=2))
    assert ended
    return {
        "transition": opened,
        "request": asked[1],
        "switch": switch[1],
        "operator's switch": loosened[1],
        "policy confirmation": confirmed[1],
        "end of a request": ended[1],
    }


@pytest.mark.parametrize("scope", ["organization", "project"])
def test_the_trail_keeps_every_kind_of_line_of_services_job_and_commands(
    plans: dict[tuple[str, str], Plan],
    scope: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    sinks = plans[scope, "dry-run"].of("google_logging_project_sink").values()
    [text] = [each["filter"] for each in sinks if each["name"] == "remediate-trail"]
    keeps = compile_filter(text)
    told = compile_filter(
        plans[scope, "dry-run"].resources['google_logging_metric.counted["told-writes"]']["values"]["filter"]
    )
    posted: list[dict[str, Any]] = []
    monkeypatch.setattr(traillog, "post", lambda _url, body, *_: posted.extend(body["entries"]))
    command = traillog.TrailLog(PROJECT, None, 1, lambda why: pytest.fail(why))

    def printed(events: Events, step: TrailRecord | ModeChange) -> dict[str, Any]:
        events.on_transition(step)
        found: dict[str, Any] = json.loads(capfd.readouterr().out)
        return found

    for kind, step in steps(tmp_path).items():
        line = printed(LogEvents(configure()), step)
        swept = printed(_SweepLines(NO_EVENTS), step)
        command.on_transition(step)
        by_command = json.loads(json.dumps(posted[-1], default=msgspec.to_builtins))
        kept = [entry(line), entry(line, PAGES), entry(swept, JOB), entry(swept, DUE), by_command]
        assert [keeps(each) for each in kept] == [True] * 5, kind
        assert not told(by_command), kind  # the person wrote the policy, and not an identity of the service
        assert not keeps(by_command | {"logName": f"projects/{PROJECT}/logs/remediate-2"}), kind
        assert not keeps(entry(line) | {"logName": f"projects/{PROJECT}/logs/mine"}), kind
        assert not keeps(entry(line, {"type": "cloud_run_revision", "labels": {"service_name": "shop"}})), kind
        assert not keeps(entry(line, {"type": "cloud_run_job", "labels": {"job_name": "remediate-receiver"}})), kind
        del line["trail"]["hash"]
        assert not keeps(entry(line)), kind


def test_the_trails_filter_is_the_codes_own() -> None:
    assert (ROOT / "deploy" / "trail.filter").read_text() == TRAIL_FILTER, "run: make filter"
