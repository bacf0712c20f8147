"""What the remediator sees of Google Cloud: two Protocols, so that deciding never depends on a client library.

Every call has a time limit. A passing fault raises TransientFault, a final answer TerminalFault; both say which
call failed and what Google answered.
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
    """A Google Cloud project. `organization` is digits; None outside of any, UNSET where it cannot be told."""

    id: str
    number: str
    organization: str | msgspec.UnsetType | None
    ancestors: tuple[str, ...] = ()
    """`folders/N` and `organizations/N`, nearest first, as far as they may be seen."""


class RepositoryDescription(msgspec.Struct, frozen=True):
    """What a repository is, in Artifact Registry's own words; None where it does not say."""

    format: str | None
    """`DOCKER`, `MAVEN`, ..."""
    mode: str | None
    """`STANDARD_REPOSITORY`, `VIRTUAL_REPOSITORY`, `REMOTE_REPOSITORY`."""
    redirected: bool | None = None
    """Whether the addresses of gcr.io lead to it; None for every other repository, or where that cannot be told."""
    newcomers: bool = False
    """Whether its owner lets rules grant to members that never deployed from it: label `remediate=deployers`."""


class PolicyChange(msgspec.Struct, frozen=True):
    """What became of a repository's allow policy: `written` is False when it was as wanted already."""

    written: bool
    etag: str
    """Of the policy as it stands afterwards (base64 text, as the REST API shows it)."""


class Registry(Protocol):
    """Artifact Registry: what a repository is, and its allow policy."""

    def describe(self, repository: Repository) -> RepositoryDescription | None:
        """What the repository is; None where it does not exist.

        A 403 (not visible to us) raises TerminalFault, it is not a no.
        """

    def bindings(self, repository: Repository) -> list[Binding]:
        """The bindings of the repository's own policy."""

    def has_reader(self, grant: Grant) -> bool:
        """Whether the member is in an unconditional reader binding of the repository's own policy."""

    def change_by_adding(self, grant: Grant) -> BindingChange:
        """What `add_reader` would change now; reads, and writes nothing."""

    def add_reader(self, grant: Grant, *, request_reason: str, precondition: Callable[[], bool]) -> PolicyChange:
        """Add the member to the repository's one unconditional reader binding, by compare-and-set on the etag.

        Nothing else of the policy changes. A conflict is re-read and redone with jitter; no write happens when the
        member is there already. `request_reason` is an opaque id that Google's audit log may show. `still` is asked
        between each read and its write, and where it says no nothing is written: as the write bears the etag of that
        read, it is certain that nobody changed the policy since.
        """

    def remove_reader(self, grant: Grant, *, request_reason: str, precondition: Callable[[], bool]) -> PolicyChange:
        """Take the member out of the repository's unconditional reader binding, by the same compare-and-set.

        Nothing else changes; nothing is written when the member is not there, or `still` says no.
        """


class EntryKey(msgspec.Struct, frozen=True):
    """What names a log entry: Cloud Logging's natural key."""

    log_name: str
    insert_id: str
    timestamp: str


class Logs(Protocol):
    """Cloud Logging: what really happened. Calls are few a minute; TransientFault where they are spent."""

    def entry(self, key: EntryKey) -> list[bytes]:
        """The entries that Cloud Logging itself has under this key: one, or none; each as its own JSON."""

    def entries(self, keys: Sequence[EntryKey]) -> Mapping[EntryKey, list[bytes] | RemediateError]:
        """As `entry`, for many at once and in as few calls as can be; in place of what could not be asked, the fault.

        A TransientFault: ask again later. A TerminalFault: it may not be asked.
        """

    def operation_entries(self, project: str, operation: str, at: datetime) -> list[bytes]:
        """The entries of the calls in the project that belong to an operation, within an hour of then."""

    def deploys(
        self,
        project: str,
        repositories: Sequence[Repository],
        members: Sequence[Member],
        since: datetime,
        before: datetime,
    ) -> Iterator[bytes]:
        """The entries of the project's activity log that may be deploys by these members, newest first; preselected.

        `repositories` is the one repository that was deployed from, by the id and by the number of its project. Raises
        TerminalFault where the log may not be read, or has more entries than one look-up follows.
        """

    def ends(self, project: str, operations: Sequence[str], since: datetime) -> Iterator[bytes]:
        """The entries that end these operations (some dozens at most), newest first. Raises as `deploys` does."""

    def policy_changes(self, repository: Repository, since: datetime) -> Iterator[bytes]:
        """The entries of who set the policy of the repository, or of its project, newest first. Raises likewise."""

    def denials(self, projects: Sequence[str], since: datetime) -> Iterator[bytes]:
        """The entries of these projects (`projects/ID`) since then that may be denials.

        Each as its own JSON, exactly as Cloud Logging has it, oldest first among the projects that are asked at once.
        """


class Projects(Protocol):
    """Resource Manager: turns a project id or number into the project, its number, its id and its organization."""

    def find(self, project: str) -> Project | None:
        """The project with this id or number; None where it does not exist or may not be seen (Google says 403)."""

    def list_projects(self, scope: str) -> list[str]:
        """Every project (`projects/ID`) at or beneath this scope (`organizations/N`, `folders/N`, `projects/ID`)."""

    def bindings(self, scope: str) -> list[Binding] | None:
        """The bindings of the allow policy of `projects/ID`, `folders/N` or `organizations/N`; None: not to be seen."""

    def tags(self, project: Project) -> frozenset[str] | None:
        """The project's effective tags, as `tagValues/N` and as `ORGANIZATION/KEY/VALUE`; None: not to be seen."""


class Troubleshooter(Protocol):
    """Policy Troubleshooter: what no grant overrides."""

    def denied_by_policy(self, repository: Repository, member: Member) -> bool | None:
        """Whether a deny policy or an access boundary keeps the member from reading; None where it cannot tell."""


class Roles(Protocol):
    """IAM: what custom roles hold."""

    def holds(self, role: str) -> bool | None:
        """Whether a custom role lets its members download images; None where that may not be looked up."""


@dataclass(frozen=True)
class Cloud:
    """Google Cloud as the remediator sees it.

    `logs` is None only beside a local Google Cloud without Cloud Logging: then events are believed. `troubleshooter` is
    None where it is not switched on.
    """

    registry: Registry
    projects: Projects
    roles: Roles
    logs: Logs | None
    troubleshooter: Troubleshooter | None = None
