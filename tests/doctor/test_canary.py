"""A synthetic denial goes the real way: published, pushed, decided by the real function, recorded; and grants nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from remediate.doctor.canary import Flight, Stages, canary, judged
from remediate.doctor.codes import Code
from remediate.doctor.names import Site
from remediate.entries.denial import Denial, understand
from remediate.entries.log_entry import read_entry
from remediate.ledger.interface import Filter
from remediate.ledger.sqlite import SqliteLedger
from remediate.records.remediation import State
from sandbox.stdout import log_entry
from tests.doctor.ward import HERE, PROJECT, REGION, SCOPE, TOPIC, TRIGGER, Hours, Ward
from tests.sandbox_fixture import ROOT, SandboxProcess
from tests.wire.function_fixture import FunctionProcess

SITE = Site(PROJECT, REGION, scopes=(SCOPE,))
REPOSITORY = f"projects/{PROJECT}/locations/{REGION}/repositories/remediate-canary"


@contextmanager
def receiver(ward: Ward, folder: Path, *, logs: bool = True, **settings: str) -> Iterator[FunctionProcess]:
    """The real function as the sandbox's receiver; what it says on standard output is in the log."""
    function = FunctionProcess(ward.sandbox, folder, REMEDIATE_ORGANIZATION="400000000001", **settings)
    ward.sandbox.subscribe(function.url)
    ward.tell(REMEDIATE_LEDGER=f"sqlite:///{function.ledger_path}", **settings)
    done = threading.Event()

    def forward() -> None:
        said = 0
        while not done.wait(0.05):
            for line in function.output[said:]:
                said += 1
                ward.sandbox.log(log_entry(line, PROJECT, REGION, "remediate-receiver"))

    thread = threading.Thread(target=forward, daemon=True)
    if logs:
        thread.start()
    try:
        yield function
    finally:
        done.set()
        if logs:
            thread.join(10)
        function.close()


@pytest.mark.parametrize("mode", ["dry-run", "enforce"])
def test_a_synthetic_denial_comes_through_is_refused_and_changes_no_policy(
    ward: Ward, tmp_path: Path, mode: str
) -> None:
    before = ward.sandbox.policies()
    with receiver(ward, tmp_path, REMEDIATE_MODE=mode) as function:
        reports = [ward.visit(canary=True) for _ in range(2)]
        [record] = function.records()
        assert all(line["outcome"] == "refuse" for line in function.lines(2))
    for report in reports:
        assert report.flight
        assert report.flight.outcome == "refuse"
        stages = report.flight.stages
        assert None not in (stages.published, stages.received, stages.decided, stages.recorded)
        assert Code.CANARY_LOST not in {each.code for each in report.findings}
    assert (record.state, record.repository, record.denials) == (State.REFUSED, REPOSITORY, 2)
    assert ward.sandbox.policies() == before
    ledger = SqliteLedger(tmp_path / "ledger.db")
    assert ledger.find(Filter((State.PROPOSED,))) == []
    assert len(list(ledger.trail())) == 1


def test_without_the_log_the_ledger_tells_that_it_came_through(ward: Ward, tmp_path: Path) -> None:
    with receiver(ward, tmp_path, logs=False):
        ward.sandbox.faults({"match": "entries:list", "effect": "status", "code": 403, "times": None})
        flight = ward.visit(canary=True).flight
    assert flight
    assert (flight.stages.received, flight.stages.decided) == (None, None)
    assert flight.stages.recorded is not None
    assert "403" in flight.logs_fault


def test_without_the_ledger_the_log_tells_that_it_came_through(ward: Ward, tmp_path: Path) -> None:
    with receiver(ward, tmp_path):
        ward.tell(REMEDIATE_LEDGER="firestore://remediate-ops/remediate")
        report = ward.visit(canary=True)
    assert report.flight
    assert report.flight.stages.recorded is not None  # the line is written behind the record
    assert report.flight.outcome == "refuse"
    assert report.findings == []


def test_one_that_nobody_decides_about_is_lost_after_a_minute(ward: Ward, tmp_path: Path) -> None:
    ward.tell(REMEDIATE_LEDGER=f"sqlite:///{tmp_path / 'ledger.db'}")
    SqliteLedger(tmp_path / "ledger.db")
    ward.sandbox.subscribe("http://127.0.0.1:9/")
    hours = Hours()
    started = hours.now
    findings = ward.visit(canary=True, clock=hours, wait=hours.wait).findings
    assert [each.code for each in findings] == [Code.CANARY_LOST]
    assert 60 <= (hours.now - started).total_seconds() <= 62


def test_where_neither_end_may_be_seen_it_is_unknown_and_not_lost(ward: Ward) -> None:
    ward.sandbox.faults({"match": "entries:list", "effect": "status", "code": 403, "times": None})
    hours = Hours()
    findings = ward.visit(canary=True, clock=hours, wait=hours.wait).findings
    assert [each.code for each in findings] == [Code.NOT_KNOWN]


def test_who_may_not_publish_is_told_what_it_needs(ward: Ward) -> None:
    ward.sandbox.faults({"match": ":publish", "effect": "status", "code": 403, "times": None})
    [finding] = ward.visit(canary=True).findings
    assert finding.code is Code.NOT_KNOWN
    assert "pubsub.topics.publish" in finding.what
    assert "--no-canary" in finding.fix


def test_nothing_is_sent_for_a_repository_that_exists(tmp_path: Path) -> None:
    organization = yaml.safe_load((ROOT / "sandbox" / "example.yaml").read_text())
    [ops] = [each for each in organization["projects"] if each["id"] == PROJECT]
    ops["repositories"] = [{"name": "remediate-canary", "location": REGION}]
    (tmp_path / "organization.yaml").write_text(yaml.safe_dump(organization))
    sandbox = SandboxProcess("--org", str(tmp_path / "organization.yaml"))
    try:
        report = Ward(sandbox).visit(canary=True)
        assert [each.code for each in report.findings] == [Code.CANARY_NAME_TAKEN]
        assert report.flight is None
        assert sandbox.requests(":publish") == 0
    finally:
        sandbox.close()


def test_nothing_is_sent_where_it_is_not_known_whether_the_repository_exists(ward: Ward) -> None:
    ward.sandbox.faults({"match": f"GET /v1/{REPOSITORY}$", "effect": "status", "code": 403, "times": None})
    published = ward.sandbox.requests(":publish")
    [finding] = ward.visit(canary=True).findings
    assert "artifactregistry.repositories.get" in finding.what
    assert ward.sandbox.requests(":publish") == published


@pytest.mark.parametrize("missing", [TOPIC, TRIGGER])
def test_without_a_way_to_go_none_is_sent(ward: Ward, missing: str) -> None:
    ward.change({missing: None})
    published = ward.sandbox.requests(":publish")
    report = ward.visit(canary=True)
    assert report.flight is None
    assert report.checks[-1].left_out
    assert ward.sandbox.requests(":publish") == published


def test_it_is_told_by_its_names_everywhere() -> None:
    sent = canary(SITE, datetime.now(UTC), "0123")
    denial = understand(read_entry(sent.entry))
    assert isinstance(denial, Denial)
    assert denial.entry.insert_id == "canary-0123"
    assert (str(denial.repository), sent.repository) == (REPOSITORY, REPOSITORY)
    assert str(denial.member) == f"serviceAccount:remediate-canary@{PROJECT}.iam.gserviceaccount.com"
    assert denial.deploy.name == "remediate-canary"
    assert "synthetic" in json.loads(sent.entry)["labels"]


def test_the_projects_of_a_domain_have_one_too() -> None:
    sent = canary(Site("example.com:ops", REGION), datetime.now(UTC), "0")
    assert sent.member == "serviceAccount:remediate-canary@ops.example.com.iam.gserviceaccount.com"
    assert sent.repository.startswith("projects/example.com:ops/")


@pytest.mark.parametrize(
    ("flight", "codes"),
    [
        (Flight("canary-0", Stages(0.1, 0.2, 0.3, 0.4), "refuse"), []),
        (Flight("canary-0", Stages(0.1, 0.2, 45.0, 45.0), "refuse"), [Code.CANARY_SLOW]),
        (Flight("canary-0", Stages(0.1, 0.2, 0.3, 0.4), "ask"), [Code.CANARY_MISJUDGED]),
        (Flight("canary-0", Stages(0.1, None, None, 0.4), "granted"), [Code.CANARY_MISJUDGED]),
        (Flight("canary-0", Stages(0.1)), [Code.CANARY_LOST]),
    ],
)
def test_what_its_flight_says(flight: Flight, codes: list[Code]) -> None:
    sent = canary(SITE, datetime.now(UTC), "0")
    assert [each.code for each in judged(SITE, sent, flight)] == codes


def test_a_project_without_a_sink_is_left_out(ward: Ward) -> None:
    report = ward.visit(Site(PROJECT, REGION, scopes=(HERE,)), canary=True)
    assert report.flight is None
    assert "Eventarc alone" in report.checks[-1].note
