"""Registry, Projects, Logs and Roles in memory: real implementations of the Protocols that a test can inspect."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from remediate.cloud.interface import EntryKey, PolicyChange, Project, RepositoryDescription
from remediate.entries.log_filter import deploys_by, ends_of, policy_changes
from remediate.errors import Missing, RemediateError, TerminalFault
from remediate.iam.allow_policy import (
    AlreadyThere,
    AppendTo,
    Binding,
    BindingChange,
    NotThere,
    change_by_adding,
    edit_to_add,
    edit_to_remove,
)
from remediate.iam.grant import ROLE, Grant
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from remediate.records.delivery import DeliveryResult
from remediate.records.events import NoEvents
from remediate.records.modes import ModeChange
from remediate.records.remediation import TrailRecord
from remediate.times import to_rfc3339
from sandbox.logfilter import compile_filter
from tests.audit_entries import deployed

ORGANIZATION = "400000000001"


class Heard(NoEvents):
    """Keeps the events for a test to inspect."""

    def __init__(self) -> None:
        self.transitions: list[TrailRecord | ModeChange] = []
        self.deliveries: list[DeliveryResult] = []
        self.policy_errors: list[str] = []

    def on_transition(self, step: TrailRecord | ModeChange) -> None:
        self.transitions.append(step)

    def on_delivery(self, result: DeliveryResult) -> None:
        self.deliveries.append(result)

    def on_policy_error(self, error: str) -> None:
        self.policy_errors.append(error)


@dataclass
class MemoryRegistry:
    """Repositories by resource name, each with its bindings. `writes` counts the policy writes."""

    policies: dict[str, list[Binding]] = field(default_factory=dict)
    writes: int = 0
    refuse_writes: bool = False
    kinds: dict[str, RepositoryDescription] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock, compare=False, repr=False)
    """Replaces Google Cloud's compare-and-set if a test uses threads."""

    def describe(self, repository: Repository) -> RepositoryDescription | None:
        standard = RepositoryDescription("DOCKER", "STANDARD_REPOSITORY")
        return self.kinds.get(str(repository), standard) if str(repository) in self.policies else None

    def bindings(self, repository: Repository) -> list[Binding]:
        return list(self._policy(repository))

    def has_reader(self, grant: Grant) -> bool:
        return isinstance(edit_to_add(self._policy(grant.repository), grant.member), AlreadyThere)

    def _policy(self, repository: Repository) -> list[Binding]:
        if str(repository) not in self.policies:
            raise Missing(f"getIamPolicy {repository}: 404 Requested entity was not found")
        return self.policies[str(repository)]

    def add_reader(self, grant: Grant, *, request_reason: str, precondition: Callable[[], bool]) -> PolicyChange:
        assert request_reason
        with self.lock:
            return self._add(grant.repository, grant.member, precondition)

    def _add(self, repository: Repository, member: Member, precondition: Callable[[], bool]) -> PolicyChange:
        if self.refuse_writes:
            raise TerminalFault("setIamPolicy: 400 the member does not belong to a permitted customer")
        bindings = self._policy(repository)
        if not precondition():
            return PolicyChange(written=False, etag=str(self.writes))
        match edit_to_add(bindings, member):
            case AlreadyThere():
                return PolicyChange(written=False, etag=str(self.writes))
            case AppendTo(index):
                old = bindings[index]
                bindings[index] = Binding(old.role, (*old.members, str(member)))
            case _:
                bindings.append(Binding(ROLE, (str(member),)))
        self.writes += 1
        return PolicyChange(written=True, etag=str(self.writes))

    def remove_reader(self, grant: Grant, *, request_reason: str, precondition: Callable[[], bool]) -> PolicyChange:
        assert request_reason
        with self.lock:
            return self._remove(grant.repository, grant.member, precondition)

    def _remove(self, repository: Repository, member: Member, precondition: Callable[[], bool]) -> PolicyChange:
        bindings = self._policy(repository)
        edit = edit_to_remove(bindings, member)
        if isinstance(edit, NotThere) or not precondition():
            return PolicyChange(written=False, etag=str(self.writes))
        old = bindings[edit.index]
        left = tuple(text for place, text in enumerate(old.members) if place != edit.place)
        bindings[edit.index : edit.index + 1] = [Binding(old.role, left)] if left else []
        self.writes += 1
        return PolicyChange(written=True, etag=str(self.writes))

    def change_by_adding(self, grant: Grant) -> BindingChange:
        return change_by_adding(self._policy(grant.repository), grant.member)

    def readers(self, repository: str) -> list[str]:
        """The members of the repository's reader bindings."""
        return [m for b in self.policies[repository] if b.role == ROLE and not b.conditional for m in b.members]


@dataclass
class MemoryLogs:
    """A Cloud Logging with the entry that `written` returns for an insert id. `reads` counts the look-ups."""

    written: Callable[[str], dict[str, Any] | None] = lambda _: None
    deployed: set[str] = field(default_factory=set)
    """Members with a deploy from every repository, one day before the end of the requested time."""
    log: list[dict[str, Any]] = field(default_factory=list)
    """Entries that only the filters find, as in Cloud Logging."""
    operations: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    reads: int = 0

    def entry(self, key: EntryKey) -> list[bytes]:
        self.reads += 1
        kept = [each for calls in self.operations.values() for each in calls]
        held = [each for each in (self.written(key.insert_id), *kept) if each and _is(each, key)]
        return [json.dumps(each).encode() for each in held[:1]]

    def deploys(
        self,
        project: str,
        repositories: Sequence[Repository],
        members: Sequence[Member],
        since: datetime,
        before: datetime,
    ) -> Iterator[bytes]:
        proven = [each for each in members if str(each) in self.deployed]
        ago = [deployed(each, project, repositories[0], before - timedelta(days=1)) for each in proven]
        return self._newest(deploys_by(repositories, members, to_rfc3339(since), to_rfc3339(before)), project, ago)

    def ends(self, project: str, operations: Sequence[str], since: datetime) -> Iterator[bytes]:
        return self._newest(ends_of(operations, to_rfc3339(since)), project)

    def policy_changes(self, repository: Repository, since: datetime) -> Iterator[bytes]:
        return self._newest(policy_changes(repository, to_rfc3339(since)), repository.project)

    def entries(self, keys: Sequence[EntryKey]) -> dict[EntryKey, list[bytes] | RemediateError]:
        """Counts as one look-up for any number of keys."""
        reads, found = self.reads, dict[EntryKey, list[bytes] | RemediateError]()
        for key in keys:
            try:
                found[key] = self.entry(key)
            except RemediateError as fault:
                found[key] = fault
        self.reads = reads + 1
        return found

    def _newest(self, wanted: str, project: str, more: Sequence[dict[str, Any]] = ()) -> Iterator[bytes]:
        self.reads += 1
        matches = compile_filter(wanted)
        held = [each for each in (*self.log, *more) if each["logName"].split("/")[1] == project and matches(each)]
        held.sort(key=lambda each: str(each["timestamp"]), reverse=True)
        return (json.dumps(each).encode() for each in held)

    def operation_entries(self, project: str, operation: str, at: datetime) -> list[bytes]:
        assert project
        assert at.tzinfo
        self.reads += 1
        return [json.dumps(each).encode() for each in self.operations.get(operation, [])]

    def denials(self, places: Sequence[str], since: datetime) -> Iterator[bytes]:
        raise NotImplementedError("the sandbox has this one")


def _is(entry: dict[str, Any], key: EntryKey) -> bool:
    """Whether an entry has this insert id and log name."""
    return (entry.get("insertId"), entry.get("logName")) == (key.insert_id, key.log_name)


@dataclass
class MemoryProjects:
    """Projects by id and number."""

    projects: list[Project]

    policies: dict[str, list[Binding]] = field(default_factory=dict)
    tagged: dict[str, frozenset[str]] = field(default_factory=dict)
    fresh: int = 0
    """How often tags were looked up without the cache."""

    def find(self, project: str) -> Project | None:
        return next((each for each in self.projects if project in (each.id, each.number)), None)

    def list_projects(self, scope: str) -> list[str]:
        raise NotImplementedError("the sandbox has this one")

    def bindings(self, scope: str) -> list[Binding] | None:
        return self.policies.get(scope, [])

    def tags(self, project: Project, *, fresh: bool = False) -> frozenset[str] | None:
        self.fresh += fresh
        return self.tagged.get(project.id, frozenset())


@dataclass
class MemoryRoles:
    """Custom roles, each with whether it includes the permission. Any other role is unknown."""

    roles: dict[str, bool] = field(default_factory=dict)

    def holds(self, role: str) -> bool | None:
        return self.roles.get(role)


def projects() -> MemoryProjects:
    """The deploying project, the registry's project, and a project of another organization."""
    return MemoryProjects(
        [
            Project("shop-frontend", "123456789012", ORGANIZATION, ("folders/421", f"organizations/{ORGANIZATION}")),
            Project("platform-images", "210987654321", ORGANIZATION, (f"organizations/{ORGANIZATION}",)),
            Project("other-images", "555555555555", "999"),
        ]
    )
