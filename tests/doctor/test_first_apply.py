"""The checklist of a first apply: its report settles each item, and names nothing unless it is asked to."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from remediate.doctor.first_apply.calls import refusal as read_refusal
from remediate.doctor.first_apply.items import PAGE, Item, Verdict
from remediate.doctor.first_apply.words import ErrorReason, Fact, Status, encode, version
from tests import warm
from tests.doctor.front import Front, front_of, refusal
from tests.doctor.installation import (
    PROJECT,
    REGION,
    SINK,
    SUBSCRIPTION,
    Installation,
    clean_environment,
    empty_home,
)
from tests.doctor.receiver import receiver
from tests.sandbox_fixture import ROOT

WHERE = ("--project", PROJECT, "--region", REGION)
ORGANIZATION = yaml.safe_load((ROOT / "sandbox" / "example.yaml").read_text())


@pytest.fixture
def google(installation: Installation) -> Iterator[tuple[Front, dict[str, str]]]:
    """The installation behind a front, and the environment for it."""
    with front_of(installation) as found:
        yield found


def checklist(environ: dict[str, str], *arguments: str, code: int = 1, cwd: Path = ROOT) -> tuple[str, str]:
    """Standard output and error of a run, which must end with this exit code."""
    given = ("doctor", "--first-apply", *arguments)
    done = warm.run_text("remediate", *given, env=clean_environment() | environ, cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def report(environ: dict[str, str], *arguments: str, code: int = 1) -> dict[str, Any]:
    """The printed report of a run without synthetic denials."""
    found, warned = checklist(environ, *WHERE, "--no-canary", "--report", "-", *arguments, code=code)
    assert warned == ""  # quiet in a pipe
    return cast("dict[str, Any]", json.loads(found))


def item(found: dict[str, Any], wanted: Item) -> dict[str, Any]:
    """One item of a report."""
    [only] = [each for each in found["items"] if each["item"] == wanted.value]
    return cast("dict[str, Any]", only)


def verdict(found: dict[str, Any], wanted: Item) -> Verdict:
    return Verdict(item(found, wanted)["verdict"])


def private_words() -> set[str]:
    """Every name, number and address of the sandbox's cloud, and the parts that the installation has there."""
    text = (ROOT / "sandbox" / "example.yaml").read_text()
    words = {each["id"] for kind in ("organizations", "folders", "projects") for each in ORGANIZATION[kind]}
    words |= {each["number"] for each in ORGANIZATION["projects"]} | {
        each["domain"] for each in ORGANIZATION["organizations"]
    }
    words |= {each["name"] for project in ORGANIZATION["projects"] for each in project.get("repositories", ())}
    words |= set(re.findall(r"[\w.-]+@[\w.-]+", text))
    parts = ("receiver", "review", "sweep", "trigger", "builder", "denials", "dead-letters", "trail", "canary")
    return words | {f"remediate-{part}" for part in parts} | {REGION, "eve", "acme-secret"}


def named(text: str) -> set[str]:
    """The private words in a text."""
    return {word for word in private_words() if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)}


def test_a_report_has_every_item_once_in_the_order_of_the_page(installation: Installation) -> None:
    found = report(installation.environ)
    assert [each["item"] for each in found["items"]] == [each.value for each in Item]
    assert found["about"] == {
        "remediate": "0.1.0",
        "watches": "organizations",
        "scopes": 1,
        "mode": "dry-run",
        "deployed": True,
    }
    assert sum(found["summary"].values()) == len(Item)
    for each in Item:
        assert item(found, each)["see"] == f"{PAGE}#{each.value}"
        assert (verdict(found, each) is Verdict.BY_HAND) == each.by_hand
    assert verdict(found, Item.DOCTOR) is Verdict.AS_EXPECTED
    assert item(found, Item.TOOLS)["facts"]["python"].startswith("3.")
    assert installation.sandbox.requests("setIamPolicy") == 0


def test_the_page_has_the_same_codes_in_the_same_order() -> None:
    page = (ROOT / PAGE).read_text()
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", page, re.M | re.S))
    assert list(sections) == [each.value for each in Item]
    for code, text in sections.items():
        assert text.startswith("\nNot known: "), code
        for part in ("```sh\n", "Expect", "therwise" if code != Item.ADVANCED_EVENTARC else "Only where"):
            assert part in text, (code, part)
    for each in Verdict:
        assert f"| `{each.value}` |" in page


HOSTILE = (
    f"Permission denied on remediate-receiver of {PROJECT} (444444444444) in organizations/400000000001 for "
    "user:ana@example.com, eve, repository containers, acme-secret"
)


@pytest.mark.parametrize("reason", ["IAM_PERMISSION_DENIED", "acme-secret", PROJECT, "444444444444"])
@pytest.mark.parametrize("status", ["PERMISSION_DENIED", PROJECT])
def test_no_report_holds_a_name_of_googles_errors(
    google: tuple[Front, dict[str, str]], status: str, reason: str
) -> None:
    front, environ = google
    front.answers[r"^(GET|POST) /"] = refusal(status, reason, HOSTILE)
    scope = ("--scope", "organizations/400000000001")
    text = json.dumps(report(environ, *scope))
    assert named(text) == set()
    assert named(HOSTILE) >= {PROJECT, "444444444444", "400000000001", "ana@example.com", "containers", "acme-secret"}
    assert '"http": 403' in text
    assert HOSTILE in json.dumps(report(environ, *scope, "--names"))


def test_no_report_holds_a_name_of_what_is_found(
    google: tuple[Front, dict[str, str]], installation: Installation
) -> None:
    front, environ = google
    installation.change({SINK: {"disabled": True, "exclusions": [{"name": "acme-secret"}]}, SUBSCRIPTION: None})
    entry: dict[str, Any] = {
        "resource": {"type": "acme-secret", "labels": {"service_name": "remediate-review", "acme-secret": "eve"}},
        "protoPayload": {"methodName": "google.cloud.run.v2.Instances.acme-secret", "status": {"code": 444444444444}},
        "jsonPayload": {"outcome": "acme-secret"},
        "httpRequest": {"status": 444444444444},
        "operation": {"id": "acme-secret", "first": True},
    }
    series = {"resource": {"type": "acme-secret", "labels": {"project_id": PROJECT}}}
    front.answers |= {
        "/v2/entries:list": (200, {"entries": [entry]}),
        "/builds": (200, {"builds": [{"id": "acme-secret", "status": "acme-secret"}, {"status": "SUCCESS"}]}),
        "/timeSeries.*user": (200, {"timeSeries": [series]}),
        "/prometheus/": (200, {"status": "success", "data": {"result": [{"metric": {"project_id": PROJECT}}]}}),
        "testIamPermissions|testPermissions": (200, {"permissions": ["acme-secret", "storage.objects.create"]}),
    }
    found = report(environ)
    assert named(json.dumps(found)) == set()
    assert item(found, Item.DOCTOR)["facts"]["findings"]["sink_disabled"] == 1
    assert item(found, Item.BUILD)["facts"]["global"]["builds"] == {"OTHER": 1, "SUCCESS": 1}
    assert item(found, Item.INSTANCE_LABELS)["facts"]["resource_types"] == {"other": 1}
    assert item(found, Item.DENIED_OPERATION)["facts"]["status_codes"] == []
    assert "names" not in found
    named_report = json.dumps(report(environ, "--names"))
    assert named(named_report) >= {PROJECT, "444444444444", "400000000001", "remediate-denials", REGION}
    assert "platform-lead@example.com" in named_report  # from the project's policy
    assert f"remediate-receiver@{PROJECT}.iam.gserviceaccount.com" in named_report


def test_a_plain_text_never_gets_into_a_report() -> None:
    for text in (PROJECT, ("a",), {"x": {"y": "z"}}, b"x"):
        with pytest.raises(TypeError, match="a report holds no"):
            encode(cast("Fact", text))
    assert encode({"x": (Status.OK, 1, None, True, version("go v1.2.3")), "y": ErrorReason.OTHER}) == {
        "x": ["OK", 1, None, True, "1.2.3"],
        "y": "OTHER",
    }


def test_a_version_is_no_number_of_a_project() -> None:
    assert version("444444444444") is version("444444444444.5") is version("10.444444444444") is None
    assert str(version("Terraform v1.11.4\non linux")) == "1.11.4"


@pytest.mark.parametrize("body", [b"", b"<html>acme-secret</html>", b'{"error": "acme-secret"}', b"[1]"])
def test_an_answer_that_is_no_error_of_googles_is_other(body: bytes) -> None:
    answer = read_refusal(502, body).answer
    assert (answer.http, answer.code, answer.reason) == (502, Status.OTHER, None)


def test_a_quota_project_that_is_refused_is_otherwise(google: tuple[Front, dict[str, str]]) -> None:
    front, environ = google
    calls = r"/roles\?|/sinks\?|/tagKeys|projects:search|iap_web:getIamPolicy"
    front.answers[calls] = lambda request: (
        (200, {}) if request.quota is None else refusal("PERMISSION_DENIED", "USER_PROJECT_DENIED", "x")
    )
    found = report(environ)
    assert verdict(found, Item.QUOTA_PROJECT) is Verdict.OTHERWISE
    facts = item(found, Item.QUOTA_PROJECT)["facts"]
    assert set(facts) == {"projects", "organization_roles", "organization_sinks", "organization_tags", "iap"}
    for each in facts.values():
        assert each["with"] == {"http": 403, "code": "PERMISSION_DENIED", "reason": "USER_PROJECT_DENIED"}
        assert each["without"] == {"http": 200, "code": "OK"}
    assert {each.quota for each in front.requests if re.search(calls, each.line)} == {None, PROJECT}
    front.answers[calls] = lambda request: (200, {}) if request.quota == PROJECT else (429, {})
    assert verdict(report(environ), Item.QUOTA_PROJECT) is Verdict.AS_EXPECTED


def series(kind: str) -> tuple[int, Any]:
    return 200, {"timeSeries": [{"resource": {"type": kind}}]}


def test_builds_rights_and_metrics_are_judged(google: tuple[Front, dict[str, str]]) -> None:
    front, environ = google
    rights = ["resourcemanager.projects.setIamPolicy", "serviceusage.services.enable", "storage.buckets.create"]
    rights += ["storage.objects.create", "logging.sinks.create", "resourcemanager.organizations.setIamPolicy"]
    front.answers |= {
        "/locations/global/builds": (200, {"builds": [{"status": "SUCCESS"}, {"status": "FAILURE"}]}),
        "/locations/.*/builds": (200, {}),
        ":testIamPermissions": (200, {"permissions": rights}),
        "/iam/testPermissions": (200, {}),
        "/timeSeries.*user/remediate-(told-)?writes": series("logging_bucket"),
        "/timeSeries.*user": series("cloud_run_revision"),
        "/prometheus/.*=~|/prometheus/.*%3D~": refusal("INVALID_ARGUMENT", "", "no", 400),
        "/prometheus/": (200, {"status": "success", "data": {"result": [{}]}}),
    }
    found = report(environ)
    assert verdict(found, Item.BUILD) is Verdict.AS_EXPECTED
    assert item(found, Item.BUILD)["facts"]["global"]["builds"] == {"SUCCESS": 1, "FAILURE": 1}
    assert verdict(found, Item.INSTALLER_RIGHTS) is Verdict.OTHERWISE
    assert item(found, Item.INSTALLER_RIGHTS)["facts"]["missing"] == ["iam.roles.create"]
    assert verdict(found, Item.INHERITED_OWNER) is Verdict.OTHERWISE
    assert verdict(found, Item.METRIC_RESOURCES) is Verdict.AS_EXPECTED
    assert verdict(found, Item.METRIC_NAMES) is Verdict.AS_EXPECTED
    pattern = item(found, Item.METRIC_NAMES)["facts"]["errors-by-pattern"]
    assert pattern == {"answer": {"http": 400, "code": "INVALID_ARGUMENT"}, "series": None}
    front.answers["/timeSeries.*user/remediate-(told-)?writes"] = series("global")
    front.answers["/prometheus/"] = (400, {})
    rights.append("iam.roles.create")
    front.answers["/iam/testPermissions"] = (200, {"permissions": ["storage.objects.create"]})
    front.answers["/locations/global/builds"] = (200, {"builds": [{"status": "FAILURE"}]})
    found = report(environ)
    assert verdict(found, Item.BUILD) is Verdict.OTHERWISE
    assert verdict(found, Item.INSTALLER_RIGHTS) is Verdict.AS_EXPECTED
    assert verdict(found, Item.INHERITED_OWNER) is Verdict.AS_EXPECTED
    assert verdict(found, Item.METRIC_RESOURCES) is Verdict.OTHERWISE
    assert verdict(found, Item.METRIC_NAMES) is Verdict.OTHERWISE


def test_the_queries_name_the_metrics_as_the_alerts_do(google: tuple[Front, dict[str, str]]) -> None:
    front, environ = google
    report(environ)
    asked = " ".join(each.line for each in front.requests)
    metrics = set(re.findall(r"^    ([\w-]+) = \{$", (ROOT / "deploy" / "metrics.tf").read_text(), re.M))
    assert set(re.findall(r"user/remediate-([\w-]+)", asked.replace("%2F", "/"))) == metrics
    assert set(re.findall(r"user_remediate_(\w+)", asked)) == {each.replace("-", "_") for each in metrics}


@pytest.mark.parametrize(
    ("both", "expected"),
    [((403, {}), Verdict.AS_EXPECTED), ((200, {}), Verdict.OTHERWISE), ((503, {}), Verdict.NOT_KNOWN)],
)
def test_one_project_that_may_not_be_read(
    google: tuple[Front, dict[str, str]], both: tuple[int, Any], expected: Verdict
) -> None:
    front, environ = google
    front.answers[f'entries:list.*"projects/{PROJECT}","projects/bigquery-public-data"'] = both
    front.answers['entries:list.*"projects/bigquery-public-data"'] = (403, {})
    assert verdict(report(environ), Item.UNREADABLE_PROJECT) is expected


def test_the_log_settles_where_a_denial_is_and_who_got_in(installation: Installation) -> None:
    assert verdict(report(installation.environ), Item.IAP_REVIEWER) is Verdict.NOT_KNOWN
    moment = (datetime.now(UTC) - timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
    log = f"projects/{PROJECT}/logs/"
    activity = {"logName": f"{log}cloudaudit.googleapis.com%2Factivity", "timestamp": moment, "severity": "ERROR"}
    v2, v1 = "google.cloud.run.v2.Services.CreateService", "google.cloud.run.v1.Services.ReplaceService"
    for count, (method, operation) in enumerate(((v2, {"id": "a", "last": True}), (v2, {"first": True}), (v1, None))):
        payload = {"serviceName": "run.googleapis.com", "methodName": method, "status": {"code": 7}}
        more = {"operation": operation} if operation else {}
        installation.sandbox.log({**activity, "insertId": f"denied-{count}", "protoPayload": payload, **more})
    instance = {"serviceName": "run.googleapis.com", "methodName": "google.cloud.run.v2.Instances.CreateInstance"}
    resource = {"type": "cloud_run_instance", "labels": {"instance_name": "x"}}
    installation.sandbox.log({**activity, "severity": "INFO", "protoPayload": instance, "resource": resource})
    review = {"type": "cloud_run_revision", "labels": {"service_name": "remediate-review"}}
    requests = {"logName": f"{log}run.googleapis.com%2Frequests", "timestamp": moment, "resource": review}
    for status in (200, 302, 403):
        installation.sandbox.log({**requests, "insertId": str(status), "httpRequest": {"status": status}})
    line = {"outcome": "ask", "insert_id": "x"}
    receives = {"type": "cloud_run_revision", "labels": {"service_name": "remediate-receiver"}}
    stdout = {"logName": f"{log}run.googleapis.com%2Fstdout", "timestamp": moment, "resource": receives}
    installation.sandbox.log({**stdout, "insertId": "asked", "jsonPayload": line})
    installation.sandbox.log({**stdout, "insertId": "opened", "jsonPayload": {"trail": {"hash": "x"}}})
    found = report(installation.environ)
    facts = item(found, Item.DENIED_OPERATION)["facts"]
    assert (facts["v2_first"], facts["v2_last"], facts["other_methods"]) == (1, 1, 1)
    assert facts["status_codes"] == [7]
    facts = item(found, Item.IAP_REVIEWER)["facts"]
    assert (facts["served"], facts["redirected"], facts["refused"], facts["failed"]) == (1, 1, 1, 0)
    assert item(found, Item.INSTANCE_LABELS)["facts"]["labels"] == {"instance_name": 1}
    assert item(found, Item.FIRST_PROPOSAL)["facts"]["decided"]["ask"] == 1
    for each in (
        Item.DENIED_OPERATION,
        Item.IAP_REVIEWER,
        Item.INSTANCE_LABELS,
        Item.FIRST_PROPOSAL,
        Item.TRAIL_BUCKET,
    ):
        assert verdict(found, each) is Verdict.AS_EXPECTED, each


def test_a_large_synthetic_denial_follows_the_first_and_no_policy_changes(
    installation: Installation, tmp_path: Path
) -> None:
    before = installation.sandbox.policies()
    with receiver(installation, tmp_path, REMEDIATE_MODE="dry-run") as function:
        text, _ = checklist(installation.environ, *WHERE, "--report", "-")
        [record] = function.records()
    found = json.loads(text)
    assert record.tally.denials == 2
    for each in (Item.CANARY, Item.MESSAGE_SIZE):
        assert verdict(found, each) is Verdict.AS_EXPECTED
        assert item(found, each)["facts"]["decided"] == "refuse"
    size = item(found, Item.MESSAGE_SIZE)["facts"]
    assert size["bytes"] < 512_000 < size["bytes_in_base64"]
    assert verdict(found, Item.LEDGER_ROLE) is Verdict.AS_EXPECTED
    assert named(text) == set()
    assert installation.sandbox.policies() == before


def test_before_an_apply_what_is_not_there_is_not_known(installation: Installation) -> None:
    found = report(installation.environ, "--scope", "organizations/400000000001", "--name", "other")
    assert found["about"]["deployed"] is False
    after = [*Item][[*Item].index(Item.DOCTOR) :]
    settled = {each for each in after if not each.by_hand and verdict(found, each) is not Verdict.NOT_KNOWN}
    in_log = {Item.DENIED_OPERATION, Item.INSTANCE_LABELS, Item.TRAIL_BUCKET}  # the sandbox's log outlives a test
    assert settled - in_log == {Item.UNREADABLE_PROJECT}  # it needs no installation
    unnamed = report(installation.environ, "--name", "other")
    assert [each["item"] for each in unnamed["items"]] == [each.value for each in Item]


def test_without_credentials_every_call_says_so(tmp_path: Path) -> None:
    text, _ = checklist(empty_home(tmp_path), *WHERE, "--no-canary", "--report", "-", "--scope", "organizations/4")
    found = json.loads(text)
    assert item(found, Item.CALLER)["facts"]["credentials"] == "none"
    assert verdict(found, Item.CALLER) is Verdict.OTHERWISE
    assert item(found, Item.QUOTA_PROJECT)["facts"]["projects"]["with"] == {"http": 0, "code": "NO_CREDENTIALS"}


def test_the_report_is_a_new_file_and_never_replaces_one(installation: Installation, tmp_path: Path) -> None:
    said, warned = checklist(installation.environ, *WHERE, "--no-canary", cwd=tmp_path)
    written = tmp_path / "first-apply-report.json"
    assert json.loads(written.read_text())["first_apply_report"] == 1
    assert said.startswith("first-apply-report.json: ")
    assert "by hand" in said
    assert warned == ""
    text, asked = written.read_text(), installation.sandbox.requests()
    dangling = tmp_path / "dangling.json"
    dangling.symlink_to(tmp_path / "nowhere")
    for place in (written, dangling):
        _, warned = checklist(installation.environ, *WHERE, "--no-canary", "--report", str(place), code=2)
        assert "this file exists and is not replaced" in warned
    _, warned = checklist(installation.environ, *WHERE, "--report", str(tmp_path / "none" / "r.json"), code=2)
    assert "there is no folder" in warned
    assert installation.sandbox.requests() == asked  # found out before any work
    assert written.read_text() == text
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_appears_during_the_run_is_kept_and_the_report_is_printed(
    google: tuple[Front, dict[str, str]], tmp_path: Path
) -> None:
    front, environ = google
    place = tmp_path / "report.json"

    def appear(_: object) -> tuple[int, Any]:
        place.write_text("mine")
        return 404, {}

    front.answers["/prometheus/"] = appear
    said, warned = checklist(environ, *WHERE, "--no-canary", "--report", str(place), code=2)
    assert place.read_text() == "mine"
    assert "exists now; the report is printed instead" in warned
    assert json.loads(said)["first_apply_report"] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("doctor", "--report", "x.json"), "--report: expected with --first-apply only"),
        (("doctor", "--names"), "--names: expected with --first-apply only"),
        (
            ("doctor", "--first-apply", *WHERE, "--format", "json"),
            "--format: the report of --first-apply is always JSON",
        ),
        (("doctor", "--first-apply"), "--first-apply needs an installation"),
    ],
)
def test_options_that_do_not_belong_together_are_named(arguments: tuple[str, ...], told: str) -> None:
    done = warm.run_text("remediate", *arguments, env=clean_environment())
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_settings_that_are_not_valid_are_named(installation: Installation) -> None:
    _, warned = checklist(installation.environ | {"REMEDIATE_MODE": "Enforce"}, *WHERE, code=2)
    assert "REMEDIATE_MODE" in warned


def test_progress_is_shown_at_a_terminal_on_standard_error(installation: Installation) -> None:
    ours, theirs = os.openpty()
    shown = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while data := os.read(ours, 1 << 16):
                shown.extend(data)

    reading = threading.Thread(target=read)
    reading.start()
    environ = clean_environment() | installation.environ | {"TERM": "xterm"}
    command = [sys.executable, "-m", "remediate", "doctor", "--first-apply", *WHERE, "--no-canary", "--report", "-"]
    done = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=theirs, check=False)
    os.close(theirs)
    reading.join(10)
    os.close(ours)
    assert done.returncode == 1
    assert b"checklist" in shown
    assert json.loads(done.stdout)["first_apply_report"] == 1
