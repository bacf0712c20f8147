"""What alerts, metrics and the trail look for is what the service really says: its own lines, through the plan's filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sandbox.logfilter import compile_filter
from tests.audit_entries import activity, push_body, user_text
from tests.deploy.paper import Plan
from tests.sandbox_fixture import SandboxProcess
from tests.wire.function_fixture import FunctionProcess

SAME = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"
LEGACY = "us-docker.pkg.dev/shop-frontend/gcr.io/legacy:v1"
RESOURCE = {"type": "cloud_run_revision", "labels": {"service_name": "remediate-receiver"}}


def entry(line: dict[str, Any]) -> dict[str, Any]:
    """The log entry that Cloud Logging makes of a line ("Structured logging")."""
    fields = {name: value for name, value in line.items() if name != "severity"}
    return {"resource": RESOURCE, "severity": line["severity"], "jsonPayload": fields, "logName": "projects/p/logs/run"}


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
