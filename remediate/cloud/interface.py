"""The port of Google Cloud: Protocols, so that decisions do not depend on a client library.

Every call has a time limit. A temporary fault raises TransientFault, a permanent error TerminalFault; both name the
failed call and the answer of Google.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from remediate.errors import RemediateError
from remediate.iam.allow_policy import Binding, BindingChange
from remediate.iam.grant import Grant
from remediate.iam.member import Member
from remediate.iam.repository import Repository


class Project(msgspec.Struct, frozen=True):
    """A Google Cloud project. `organization` is digits; None without an organization, UNSET if unknown."""

    id: str
    number: str
    organization: str | msgspec.UnsetType | None
    ancestors: tuple[str, ...] = ()
    """`folders/N` and `organizations/N`, nearest first, up to the first one that the service may not see."""


class RepositoryDescription(msgspec.Struct, frozen=True):
    """The description of a repository, in Artifact Registry's terms; None if it does not say."""

    format: str | None
    """`DOCKER`, `MAVEN`, ..."""
    mode: str | None
    """`STANDARD_REPOSITORY`, `VIRTUAL_REPOSITORY`, `REMOTE_REPOSITORY`."""
    redirected: bool | None = None
    """Whether gcr.io addresses are redirected to it; None if unknown, or if it is not a gcr.io repository."""
    newcomers: bool = False
    """Whether rules may grant to members that never deployed from it: its label is `remediate=deployers`."""


class PolicyChange(msgspec.Struct, frozen=True):
    """The result of a change to a repository's allow policy; `written` is False if no change was needed."""

    written: bool
    etag: str
    """The etag of the policy after the change, in base64, as in the REST API."""


class Registry(Protocol):
    """Artifact Registry: the description and the allow policy of a repository."""

    def describe(self, repository: Repository) -> RepositoryDescription | None:
        """The description of the repository; None if it does not exist.

        A 403 raises TerminalFault: a repository that the service may not see can exist.
        """

    def bindings(self, repository: Repository) -> list[Binding]:
        """The bindings in the policy of the repository itself."""

    def has_reader(self, grant: Grant) -> bool:
        """Whether the member is in an unconditional reader binding of the repository itself."""

    def change_by_adding(self, grant: Grant) -> BindingChange:
        """The change that `add_reader` would make now; writes nothing."""

    def add_reader(self, grant: Grant, *, request_reason: str, precondition: Callable[[], bool]) -> PolicyChange:
        """Add the member to the repository's one unconditional reader binding, by compare-and-set on the etag.

        Changes nothing else in the policy. After a conflict, it reads and writes again with jitter. It writes nothing
        if the member is in the binding already. `request_reason` is an opaque id that Google's audit log may show.
        `precondition` is called between each read and its write; if it returns False, nothing is written. The write
        contains the etag of that read, so it fails if another process changed the policy since.
        """

    def remove_reader(self, grant: Grant, *, request_reason: str, precondition: Callable[[], bool]) -> PolicyChange:
        """Remove the member from the repository's unconditional reader binding, by the same compare-and-set.

        Changes nothing else. Writes nothing if the member is not in the binding, or if `precondition` returns False.
        """


class EntryKey(msgspec.Struct, frozen=True):
    """The natural key of a log entry in Cloud Logging."""

    log_name: str
    insert_id: str
    timestamp: str


class Logs(Protocol):
    """Cloud Logging: the authentic entries. It has a quota per minute; TransientFault if the quota is used up."""

    def entry(self, key: EntryKey) -> list[bytes]:
        """The entries that Cloud Logging has under this key, one or none, each as JSON."""

    def entries(self, keys: Sequence[EntryKey]) -> Mapping[EntryKey, list[bytes] | RemediateError]:
        """As `entry`, for many keys in as few calls as possible; a key that could not be read has the error instead.

        TransientFault: ask again later. TerminalFault: the service may not read the log.
        """

    def operation_entries(self, project: str, operation: str, at: datetime) -> list[bytes]:
        """The entries in the project of the calls of an operation, within an hour before and after `at`."""

    def deploys(
        self,
        project: str,
        repositories: Sequence[Repository],
        members: Sequence[Member],
        since: datetime,
        before: datetime,
    ) -> Iterator[bytes]:
        """The entries of the project's activity log that may be deploys by these members, newest first.

        `repositories` is the deployed repository, once with the id and once with the number of its project. Raises
        TerminalFault if the service may not read the log, or if the log has more entries than one search reads.
        """

    def ends(self, project: str, operations: Sequence[str], since: datetime) -> Iterator[bytes]:
        """The last entries of these operations (some dozens at most), newest first. Raises as `deploys` does."""

    def policy_changes(self, repository: Repository, since: datetime) -> Iterator[bytes]:
        """The entries of policy changes on the repository or its project, newest first. Raises as `deploys` does."""

    def denials(self, places: Sequence[str], since: datetime) -> Iterator[bytes]:
        """The entries of these projects (`projects/ID`), or of one log view, since that time that may be denials.

        Each as JSON, exactly as Cloud Logging has it, oldest first within each batch of projects. After the last one,
        raises PartlyUnreadable if Google refused the logs of some projects; if it refused all, TerminalFault, or
        BehindPerimeter where a perimeter did.
        """


class Projects(Protocol):
    """Resource Manager: projects by id or number, with their ancestors, policies and tags."""

    def find(self, project: str) -> Project | None:
        """The project with this id or number; None if it does not exist or the service may not see it (403 by IAM)."""

    def list_projects(self, scope: str) -> list[str]:
        """All projects (`projects/ID`) at or below this scope (`organizations/N`, `folders/N`, `projects/ID`)."""

    def bindings(self, scope: str) -> list[Binding] | None:
        """The allow policy of `projects/ID`, `folders/N` or `organizations/N`; None if the service may not see it."""

    def tags(self, project: Project, *, fresh: bool = False) -> frozenset[str] | None:
        """The effective tags, as `tagValues/N` and `ORGANIZATION/KEY/VALUE`; None if the service may not see them.

        `fresh`: without the cache.
        """


class Troubleshooter(Protocol):
    """Policy Troubleshooter: deny policies and access boundaries, which a grant does not override."""

    def denied_by_policy(self, repository: Repository, member: Member) -> bool | None:
        """Whether a deny policy or an access boundary denies the member access; None if unknown."""


class Roles(Protocol):
    """IAM: the permissions of custom roles."""

    def holds(self, role: str) -> bool | None:
        """Whether a custom role lets its members download images; None if the service may not see the role."""


@dataclass(frozen=True)
class Cloud:
    """The services of Google Cloud that the remediator uses.

    `logs` is None only with a local Google Cloud without Cloud Logging: then events are trusted. `troubleshooter` is
    None if it is off.
    """

    registry: Registry
    projects: Projects
    roles: Roles
    logs: Logs | None
    troubleshooter: Troubleshooter | None = None
