"""A ledger, a registry with two repositories, and instances of the service over them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from remediate.cloud.interface import Cloud
from remediate.decisions.organization import HomeNames
from remediate.decisions.policy import Mode
from remediate.iam.allow_policy import Binding
from remediate.ledger.interface import Filter, Ledger
from remediate.records.hash_chain import digest
from remediate.records.remediation import Remediation
from remediate.service.remediator import Remediator
from remediate.service.reviewers import Reviewers
from tests.audit_entries import LOGGED, PROJECT, REPOSITORY
from tests.fakes import ORGANIZATION, MemoryLogs, MemoryRegistry, MemoryRoles, projects
from tests.policies import WIDER

SAME_IMAGE = f"asia-northeast1-docker.pkg.dev/{PROJECT}/app/web:v2"
SAME_REPOSITORY = f"projects/{PROJECT}/locations/asia-northeast1/repositories/app"
REVIEWER = "platform-lead@example.com"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class World:
    """A ledger file, a registry with two repositories, and instances of the service over them."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        others = Binding("roles/artifactregistry.writer", ("user:builder@example.com",))
        self.registry = MemoryRegistry({REPOSITORY: [others], SAME_REPOSITORY: []})
        self.projects = projects()
        self.logs = MemoryLogs(LOGGED.get)
        self.roles = MemoryRoles()
        self.now = NOON

    def instance(self, mode: Mode | None = Mode.DRY_RUN, **replaced: Any) -> Remediator:
        cloud = Cloud(self.registry, self.projects, self.roles, self.logs)
        cloud = replace(cloud, **{name: replaced.pop(name) for name in list(replaced) if hasattr(cloud, name)})
        parts: dict[str, Any] = {"ledger": self.ledger, "cloud": cloud, "mode": mode}
        parts |= {"organization": ORGANIZATION, "clock": lambda: self.now, "rules": lambda: WIDER}
        parts |= {"home_names": HomeNames(("example.com", "example.org"))}
        parts |= {"reviewers": Reviewers(operators=(f"user:{REVIEWER}",))} | replaced
        return Remediator(**parts)

    def records(self) -> dict[str, Remediation]:
        return {record.member: record for record in self.ledger.find(Filter())}

    def counts(self) -> list[tuple[str, str, int]]:
        return sorted((each.repository, each.member, each.tally.denials) for each in self.ledger.find(Filter()))

    def check_trail(self) -> None:
        """Check that every hash chain is intact, and that every transition has exactly one record."""
        for record in self.ledger.find(Filter()):
            trail = list(self.ledger.trail(record.id))
            assert [each.seq for each in trail] == list(range(1, record.storage.trail + 1))
            assert [each.before for each in trail] == [None, *(each.after for each in trail[:-1])]
            assert trail[-1].after is record.state
            assert [each.previous for each in trail] == ["", *(each.hash for each in trail[:-1])]
            assert all(each.hash == digest(each) for each in trail)
