"""A mid-sized company: projects that deploy, projects with images, and three months of denials."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from remediate.decisions.policy import Mode
from remediate.entries.denial import Denial
from remediate.records.remediation import Remediation
from remediate.settings import load_settings
from remediate.wiring import remediator_from
from tests.audit_entries import LOGGED, activity, denial, user_text
from tests.sandbox_fixture import ROOT

TEAMS = (
    "shop-frontend",
    "shop-backend",
    "payments",
    "search",
    "recommendations",
    "identity-provider",
    "data-pipelines",
)
REGISTRIES = {
    "platform-images": ("containers", "base"),
    "ml-models": ("serving", "training"),
    "payments-registry": ("pci",),
}
REVIEWERS = ("platform-lead@example.com", "security@example.com")
_FOLDER = "folders/310000000001"


def write_organization(path: Path) -> None:
    """The example's organization with more teams and registries, as a file for the sandbox."""
    organization = yaml.safe_load((ROOT / "sandbox" / "example.yaml").read_text())
    known: dict[str, dict[str, Any]] = {each["id"]: each for each in organization["projects"]}
    for number, name in enumerate(TEAMS, 1):
        if name not in known:
            organization["projects"].append({"id": name, "number": f"70000000000{number}", "parent": _FOLDER})
        organization["identities"].append(f"serviceAccount:deployer@{name}.iam.gserviceaccount.com")
    for number, (name, repositories) in enumerate(REGISTRIES.items(), 1):
        project = known.get(name)
        if project is None:
            project = {
                "id": name,
                "number": f"80000000000{number}",
                "parent": "folders/310000000002",
                "repositories": [],
            }
            organization["projects"].append(project)
        there = {each["name"] for each in project["repositories"]}
        for each in repositories:
            if each not in there:
                project["repositories"].append({"name": each, "location": "asia-northeast1", "images": ["app:v1"]})
    path.write_text(yaml.safe_dump(organization))


def numbers() -> dict[str, str]:
    """The number of each team's project."""
    return {name: "123456789012" if name == "shop-frontend" else f"70000000000{n}" for n, name in enumerate(TEAMS, 1)}


def denied(team: str, registry: str, repository: str, at: datetime, *, name: str = "web", insert_id: str) -> Denial:
    """A denial of a team's deployer."""
    image = f"asia-northeast1-docker.pkg.dev/{registry}/{repository}/{name}:v1"
    email = f"deployer@{team}.iam.gserviceaccount.com"
    entry: dict[str, Any] = activity(
        user_text(image), images=(image,), email=email, project=team, number=numbers()[team], insert_id=insert_id
    )
    return denial(entry | {"timestamp": at.isoformat()})


def live_through_three_months(environment: dict[str, str], now: datetime | None = None) -> None:
    """Fill a ledger with three months of such a company's denials, proposals and grants, up to now."""
    now = now or datetime.now(UTC)
    clock = [now]
    remediator = remediator_from(load_settings(environment), clock=lambda: clock[0])
    places = [(registry, name) for registry, names in REGISTRIES.items() for name in names]
    for number, (team, (registry, repository)) in enumerate(_pairs(places)):
        ago = 88 - 6.2 * number if number < 13 else 1.1 * (18 - number)
        clock[0] = now - timedelta(days=ago, hours=number % 7)
        many = number % 4 + 1
        for count in range(many):
            found = denied(team, registry, repository, clock[0], insert_id=f"{number}-{count}")
            _log(environment, LOGGED[f"{number}-{count}"])
            record = remediator.handle(found).remediation
            clock[0] += timedelta(minutes=41)
        assert record
        for each in (record, *_partners(remediator, record)):
            _decide(remediator, clock, each, number, now)
    for days, (scope, mode, note) in zip((80, 60, 40, 20, 2), _SWITCHES, strict=True):
        clock[0] = now - timedelta(days=days)
        for who in ("platform-lead@example.com", "security@example.com"):
            remediator.switch(scope, mode, actor=who, note=note)
    clock[0] = now


def _log(environment: dict[str, str], entry: dict[str, Any]) -> None:
    """Write the entry to the sandbox's log, if there is a sandbox."""
    if address := environment.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING"):
        body = json.dumps({"entries": [entry]}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{address.rstrip('/')}/v2/entries:write", body)) as answer:
            assert answer.status == 200


_SWITCHES = (
    ("everywhere", Mode.DRY_RUN, "to begin with"),
    ("folders/310000000001", Mode.ENFORCE, "the pilot was quiet for three weeks"),
    ("projects/customer-notifications-production", Mode.DRY_RUN, "asked by its owners"),
    ("organizations/400000000001", Mode.ENFORCE, "after the review of 12 October"),
    ("everywhere", None, "the pilot is over"),
)


def _pairs(places: list[tuple[str, str]]) -> Iterator[tuple[str, tuple[str, str]]]:
    for step in range(3):
        for number, team in enumerate(TEAMS):
            if step == 0 or (number + step) % 3:
                yield team, places[(number * 2 + step) % len(places)]


def _partners(remediator: Any, record: Remediation) -> list[Remediation]:
    return [remediator.proposal(ident).remediation for ident in record.tally.partners]


def _decide(remediator: Any, clock: list[datetime], record: Remediation, number: int, now: datetime) -> None:
    """Decide the remediation: most are granted, some with an expiry, some rejected or revoked; the last few stay proposed."""
    who = REVIEWERS[number % 2]
    if record.state != "proposed" or number > 12:
        return
    clock[0] = min(now, clock[0] + timedelta(hours=3))
    if number % 6 == 5:
        remediator.reject(record.id, actor=who, note="deploy it by the pipeline")
        return
    max_duration = timedelta(days=120) if number % 5 == 1 else None
    remediator.approve(record.id, actor=who, note="the team's own pipeline", max_duration=max_duration)
    if number % 7 == 3:
        clock[0] = min(now, clock[0] + timedelta(days=9))
        remediator.revoke(record.id, actor=who, note="moved to another registry")
