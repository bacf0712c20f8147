"""A synthetic denial goes the real way: published, pushed, decided by the real function, recorded; and grants nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from remediate.doctor.canary import CanaryResult, CanaryTimings, canary_findings, synthetic_denial
from remediate.doctor.codes import Code
from remediate.doctor.names import ResourceNames
from remediate.entries.denial import Denial, understand
from remediate.entries.log_entry import read_entry
from remediate.ledger.interface import Filter
from remediate.ledger.sqlite import SqliteLedger
from remediate.records.states import State
from tests.doctor.installation import (
    HERE,
    PROJECT,
    REGION,
    SCOPE,
    TOPIC,
    TRIGGER,
    FakeClock,
    Installation,
)
from tests.doctor.receiver import receiver
from tests.sandbox_fixture import ROOT, SandboxProcess

NAMES = ResourceNames(PROJECT, REGION, scopes=(SCOPE,))
REPOSITORY = f"projects/{PROJECT}/locations/{REGION}/repositories/remediate-canary"


@pytest.mark.parametrize("mode", ["dry-run", "enforce"])
def test_a_synthetic_denial_comes_through_is_refused_and_changes_no_policy(
    installation: Installation, tmp_path: Path, mode: str
) -> None:
    before = installation.sandbox.policies()
    with receiver(installation, tmp_path, REMEDIATE_MODE=mode) as function:
        reports = [installation.run(canary=True) for _ in range(2)]
        [record] = function.records()
        assert all(line["outcome"] == "refuse" for line in function.lines(2))
    for report in reports:
        assert report.canary
        assert report.canary.outcome == "refuse"
        stages = report.canary.stages
        assert None not in (stages.published, stages.received, stages.decided, stages.recorded)
        assert Code.CANARY_LOST not in {each.code for each in report.findings}
    assert (record.state, record.repository, record.tally.denials) == (State.REFUSED, REPOSITORY, 2)
    assert installation.sandbox.policies() == before
    ledger = SqliteLedger(tmp_path / "ledger.db")
    assert ledger.find(Filter((State.PROPOSED,))) == []
    assert len(list(ledger.trail())) == 1


def test_the_ledger_alone_shows_that_it_arrived(installation: Installation, tmp_path: Path) -> None:
    with receiver(installation, tmp_path, logs=False):
        installation.sandbox.faults({"match": "entries:list", "effect": "status", "code": 403, "times": None})
        result = installation.run(canary=True).canary
    assert result
    assert (result.stages.received, result.stages.decided) == (None, None)
    assert result.stages.recorded is not None
    assert "403" in result.logs_fault


def test_the_log_alone_shows_that_it_arrived(installation: Installation, tmp_path: Path) -> None:
    with receiver(installation, tmp_path):
        installation.set_env(REMEDIATE_LEDGER="firestore://remediate-ops/remediate")
        report = installation.run(canary=True)
    assert report.canary
    assert report.canary.stages.recorded is not None  # the line is written behind the record
    assert report.canary.outcome == "refuse"
    assert report.findings == []


def test_without_a_decision_it_is_lost_after_a_minute(installation: Installation, tmp_path: Path) -> None:
    installation.set_env(REMEDIATE_LEDGER=f"sqlite:///{tmp_path / 'ledger.db'}")
    SqliteLedger(tmp_path / "ledger.db")
    installation.sandbox.subscribe("http://127.0.0.1:9/")
    clock = FakeClock()
    started = clock.now
    findings = installation.run(canary=True, clock=clock, wait=clock.wait).findings
    assert [each.code for each in findings] == [Code.CANARY_LOST]
    assert 60 <= (clock.now - started).total_seconds() <= 62


def test_without_log_and_ledger_it_is_unknown_and_not_lost(installation: Installation) -> None:
    installation.sandbox.faults({"match": "entries:list", "effect": "status", "code": 403, "times": None})
    clock = FakeClock()
    findings = installation.run(canary=True, clock=clock, wait=clock.wait).findings
    assert [each.code for each in findings] == [Code.NOT_KNOWN]


def test_a_missing_permission_to_publish_is_named(installation: Installation) -> None:
    installation.sandbox.faults({"match": ":publish", "effect": "status", "code": 403, "times": None})
    [finding] = installation.run(canary=True).findings
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
        report = Installation(sandbox).run(canary=True)
        assert [each.code for each in report.findings] == [Code.CANARY_NAME_TAKEN]
        assert report.canary is None
        assert sandbox.requests(":publish") == 0
    finally:
        sandbox.close()


def test_nothing_is_sent_where_it_is_not_known_whether_the_repository_exists(installation: Installation) -> None:
    installation.sandbox.faults({"match": f"GET /v1/{REPOSITORY}$", "effect": "status", "code": 403, "times": None})
    published = installation.sandbox.requests(":publish")
    [finding] = installation.run(canary=True).findings
    assert "artifactregistry.repositories.get" in finding.what
    assert installation.sandbox.requests(":publish") == published


@pytest.mark.parametrize("missing", [TOPIC, TRIGGER])
def test_without_topic_or_trigger_nothing_is_sent(installation: Installation, missing: str) -> None:
    installation.change({missing: None})
    published = installation.sandbox.requests(":publish")
    report = installation.run(canary=True)
    assert report.canary is None
    assert report.checks[-1].skipped
    assert installation.sandbox.requests(":publish") == published


def test_its_names_identify_it() -> None:
    sent = synthetic_denial(NAMES, datetime.now(UTC), "0123")
    denial = understand(read_entry(sent.entry))
    assert isinstance(denial, Denial)
    assert denial.entry.insert_id == "canary-0123"
    assert (str(denial.repository), sent.repository) == (REPOSITORY, REPOSITORY)
    assert str(denial.member) == f"serviceAccount:remediate-canary@{PROJECT}.iam.gserviceaccount.com"
    assert denial.deploy.name == "remediate-canary"
    assert "synthetic" in json.loads(sent.entry)["labels"]


def test_the_projects_of_a_domain_have_one_too() -> None:
    sent = synthetic_denial(ResourceNames("example.com:ops", REGION), datetime.now(UTC), "0")
    assert sent.member == "serviceAccount:remediate-canary@ops.example.com.iam.gserviceaccount.com"
    assert sent.repository.startswith("projects/example.com:ops/")


@pytest.mark.parametrize(
    ("result", "codes"),
    [
        (CanaryResult("canary-0", CanaryTimings(0.1, 0.2, 0.3, 0.4), "refuse"), []),
        (CanaryResult("canary-0", CanaryTimings(0.1, 0.2, 45.0, 45.0), "refuse"), [Code.CANARY_SLOW]),
        (CanaryResult("canary-0", CanaryTimings(0.1, 0.2, 0.3, 0.4), "ask"), [Code.CANARY_MISJUDGED]),
        (CanaryResult("canary-0", CanaryTimings(0.1, None, None, 0.4), "granted"), [Code.CANARY_MISJUDGED]),
        (CanaryResult("canary-0", CanaryTimings(0.1)), [Code.CANARY_LOST]),
    ],
)
def test_each_result_has_its_findings(result: CanaryResult, codes: list[Code]) -> None:
    sent = synthetic_denial(NAMES, datetime.now(UTC), "0")
    assert [each.code for each in canary_findings(NAMES, sent, result)] == codes


def test_a_project_without_a_sink_is_skipped(installation: Installation) -> None:
    report = installation.run(ResourceNames(PROJECT, REGION, scopes=(HERE,)), canary=True)
    assert report.canary is None
    assert "Eventarc alone" in report.checks[-1].note
