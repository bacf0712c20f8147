"""Turns a denial into the evidence for a decision: what Google Cloud says now about projects, repository and member.

None means unknown, and never "no". A temporary fault is raised, so that the event is redelivered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec

from remediate.cloud.interface import Cloud, EntryKey, Project, Projects, Registry, RepositoryDescription
from remediate.decisions.organization import Home, HomeNames, home_by_name, home_project
from remediate.decisions.variables import NEWCOMERS, Evidence
from remediate.entries.denial import Denial, EntryId, NotADenial, Reader, understand
from remediate.entries.joining import Call, call_of, join_call, resolve_deploying_project
from remediate.entries.log_entry import read_entry
from remediate.entries.source import source_of
from remediate.errors import BehindPerimeter, Forbidden, TerminalFault, TransientFault, Unreadable
from remediate.iam.access import can_read
from remediate.iam.allow_policy import AlreadyThere, Binding, edit_to_add
from remediate.iam.grant import Grant
from remediate.iam.member import Member
from remediate.iam.repository import Repository, is_project_number
from remediate.reasons import Reason
from remediate.records.lifecycle import when
from remediate.records.modes import Place

LAG = timedelta(minutes=2)
"""How long a new entry may take until it is readable; after that, a missing entry counts as unconfirmed."""


class PolicySnapshot:
    """Caches the policies of a repository and its ancestors for one decision.

    After one ancestor does not answer in time, it does not ask the others: their policies are unknown.
    """

    def __init__(self, registry: Registry, projects: Projects) -> None:
        self._registry = registry
        self._projects = projects
        self._above: dict[str, list[Binding] | None] = {}
        self._in_time = True
        self._kinds: dict[Repository, RepositoryDescription | None] = {}
        self._bindings: dict[Repository, list[Binding]] = {}

    def describe(self, repository: Repository) -> RepositoryDescription | None:
        """As `Registry.describe`."""
        if repository not in self._kinds:
            self._kinds[repository] = self._registry.describe(repository)
        return self._kinds[repository]

    def bindings(self, repository: Repository) -> list[Binding]:
        """As `Registry.bindings`."""
        if repository not in self._bindings:
            self._bindings[repository] = self._registry.bindings(repository)
        return self._bindings[repository]

    def above(self, scope: str) -> list[Binding] | None:
        """As `Projects.bindings`; None also if Resource Manager does not answer."""
        if scope not in self._above:
            self._above[scope] = None
            try:
                if self._in_time:
                    self._above[scope] = self._projects.bindings(scope)
            except (TerminalFault, BehindPerimeter):
                pass
            except TransientFault:
                self._in_time = False
        return self._above[scope]


class EvidenceCollector:
    """Collects the evidence for decisions from Google Cloud. `organization` is ours; None if none is configured."""

    def __init__(
        self,
        cloud: Cloud,
        organization: str | None,
        opt_in_tag: str | None,
        clock: Callable[[], datetime],
        home_names: HomeNames = HomeNames(),  # noqa: B008  (frozen)
    ) -> None:
        self._home_names = home_names
        self._roles = cloud.roles
        self._troubleshooter = cloud.troubleshooter
        self._opt_in_tag = opt_in_tag
        self._logs = cloud.logs
        self._now = clock
        self._registry = cloud.registry
        self._projects = cloud.projects
        self._organization = organization

    def resolve(self, denial: Denial) -> Denial | NotADenial:
        """The denial from `resolve_projects`, with the facts that only the entry of its call has."""
        placed = self.resolve_projects(denial)
        return placed if isinstance(placed, NotADenial) else self._with_call(placed)

    def resolve_projects(self, denial: Denial) -> Denial | NotADenial:
        """The denial with project ids in place of numbers, and the deploying project's number.

        NotADenial if Resource Manager says that its log belongs to another project.
        """
        repository, deploy = denial.repository, denial.deploy
        if repository and is_project_number(repository.project) and (owner := self._projects.find(repository.project)):
            denial = msgspec.structs.replace(denial, repository=msgspec.structs.replace(repository, project=owner.id))
        if repository and denial.repository_number and (owner := self._projects.find(repository.project)):
            denial = denial if owner.number == denial.repository_number else _doubted(denial, Reason.IMAGE_MISMATCH)
        name = deploy.project or deploy.number
        if name and (found := self._projects.find(name)):
            return resolve_deploying_project(denial, found.id, found.number)
        return denial

    def _with_call(self, denial: Denial) -> Denial:
        """The denial with the facts from the call of its operation; unchanged if no such call is found.

        Without the call, the identities behind the caller are unknown and could approve their own deploy, and it is
        unknown whether they may deploy. Raises TransientFault if the log does not answer, or lacks the call so far.
        """
        project = denial.deploy.project or denial.deploy.number
        if self._logs is None or not denial.operation or not project:
            return denial
        at = when(denial, self._now())
        with suppress(TerminalFault):
            found = self._logs.operation_entries(project, denial.operation, at)
            calls = [call for raw in found if (call := _call(raw)) and denial.operation in call.operations]
            if not calls and self._now() - at < LAG:
                raise TransientFault("Cloud Logging does not have this operation's call yet; the event is redelivered")
            return join_call(denial, calls)
        return denial

    def snapshot(self) -> PolicySnapshot:
        """A new snapshot, for the decisions about one denial."""
        return PolicySnapshot(self._registry, self._projects)

    def evidence(
        self,
        denial: Denial,
        snapshot: PolicySnapshot,
        *,
        propagating: bool = False,
        denials: int = 1,
    ) -> Evidence:
        """The evidence about a denial. Raises TerminalFault if Google Cloud rejects the look-up.

        A repository that the service may not see is unknown. The member's past is not here: see `History`.
        """
        repository, member = denial.grant.repository, denial.grant.member
        inside = self._inside(repository)
        kind, bindings, seen = None, None, inside is True
        if inside:
            try:
                kind = snapshot.describe(repository)
                bindings = snapshot.bindings(repository) if kind else None
            except Forbidden:
                kind, seen = None, False
        opted_in, newcomers = self._opted_in(repository, kind)
        home = self._home(denial, member)
        if denial.reader is Reader.SERVICE_AGENT and denial.deployer:  # a grant to the agent serves the deployer
            home = home.with_other(self._home(denial, denial.deployer))
        already = None if bindings is None else isinstance(edit_to_add(bindings, member), AlreadyThere)
        return Evidence(
            repository_exists=kind is not None if seen else None,
            repository_format=kind.format if kind else None,
            repository_mode=kind.mode if kind else None,
            redirected=kind.redirected if kind else None,
            inside_organization=inside,
            opted_in=opted_in,
            newcomers=newcomers,
            member_inside=home.inside,
            member_ancestors=home.ancestors,
            already_granted=already,
            inherited=None if already or bindings is None else self._inherited(denial.grant, bindings, snapshot),
            barred=None if already or bindings is None else self._barred(repository, member),
            propagating=propagating,
            verified=True,  # `matches_log` checks it before a write
            denials=denials,
            deploy_ancestors=self._ancestors(denial.deploy.project or denial.deploy.number),
            image_ancestors=self._ancestors(repository.project),
        )

    def _inherited(self, grant: Grant, own: list[Binding], snapshot: PolicySnapshot) -> bool | None:
        """Whether the member has access through another role or an ancestor; None if unknown."""
        ancestors = self._ancestors(grant.repository.project)
        levels: list[list[Binding] | None] = [own, *(snapshot.above(scope) for scope in ancestors or ())]
        if ancestors is None:
            levels.append(None)
        return can_read(levels, grant.member, self._roles.holds)

    def _barred(self, repository: Repository, member: Member) -> bool | None:
        """Whether a deny policy or an access boundary denies the member access; None if unknown or not asked."""
        if self._troubleshooter is None:
            return None
        with suppress(TerminalFault, TransientFault, msgspec.MsgspecError):
            return self._troubleshooter.denied_by_policy(repository, member)
        return None

    def _opted_in(self, repository: Repository, kind: RepositoryDescription | None) -> tuple[bool | None, bool | None]:
        """Whether rules may grant here, and whether they may grant to newcomers; None if unknown."""
        labelled = kind.newcomers if kind else None
        if self._opt_in_tag is None:
            return True, labelled
        tags = self._tags(repository)
        if tags is None:
            return None, True if labelled else None
        enters, newcomers = opt_in_values(self._opt_in_tag)
        return bool(tags & {enters, newcomers}), True if newcomers in tags else labelled

    def lets_us_write(self, repository: Repository) -> bool | None:
        """Whether the registry's project has the opt-in tag now; None if no tag is needed. Raises TransientFault."""
        if self._opt_in_tag is None:
            return None
        project = self._projects.find(repository.project)
        tags: frozenset[str] | None = None
        with suppress(TerminalFault):
            tags = None if project is None else self._projects.tags(project, fresh=True)
        return bool((tags or frozenset()) & {*opt_in_values(self._opt_in_tag)})

    def is_blocked(self, repository: Repository) -> bool:
        """Whether the service may not see the repository, or its owner did not opt in. Asks no log."""
        inside = self._inside(repository)
        if not inside:
            return inside is None
        try:
            kind = self._registry.describe(repository)
            if kind is not None:
                self._registry.bindings(repository)
        except Forbidden:
            return True
        return not self._opted_in(repository, kind)[0]

    def _tags(self, repository: Repository) -> frozenset[str] | None:
        project = self._projects.find(repository.project)
        with suppress(TerminalFault, TransientFault):
            return None if project is None else self._projects.tags(project)
        return None

    def _home(self, denial: Denial, member: Member) -> Home:
        """Whether the member belongs to our organization; unknown if the service may not see the member's project."""
        deployed = denial.deploy.project or denial.deploy.number
        deploying = self._projects.find(deployed) if deployed else None
        ours = self._organization or (deploying.organization if deploying else None)
        organization = ours if isinstance(ours, str) else None
        name = home_project(member)
        if name is None:
            return home_by_name(member, self._home_names, organization)
        project = None
        # A name that Resource Manager rejects, or a project that a perimeter hides, means unknown, not refused.
        with suppress(TerminalFault, BehindPerimeter):
            project = self._projects.find(name)
        if project is None or not _organization_known(project):
            return Home()
        inside = project.organization == organization if organization else project == deploying or None
        return Home(inside, (f"projects/{project.id}", *project.ancestors))

    def _ancestors(self, name: str | None) -> tuple[str, ...] | None:
        project = self._projects.find(name) if name else None
        if project is None or not _organization_known(project):
            return None
        return (f"projects/{project.id}", *project.ancestors)

    def matches_log(self, denial: Denial) -> bool | None:
        """Whether Cloud Logging has this entry with the same content.

        False if the content differs; None if the log does not have the entry, or the service may not read it. Raises
        TransientFault if a new entry may not be readable yet, or if the look-ups of this minute are used up.
        """
        if self._logs is None:
            return True
        key = entry_key(denial.entry)
        if key is None:
            return None
        with suppress(TerminalFault):
            entries = self._logs.entry(key)
            same = [each for each in map(self._understood, entries) if each and _same_entry(each, denial)]
            if same:
                return any(_says_the_same(each, denial) for each in same)
            if self._now() - datetime.fromisoformat(key.timestamp) < LAG:
                raise TransientFault("Cloud Logging does not have the entry yet; the event is redelivered")
        return None

    def _understood(self, raw: bytes) -> Denial | NotADenial | None:
        with suppress(Unreadable):
            subject = understand(read_entry(raw))
            return self.resolve(subject) if isinstance(subject, Denial) else subject
        return None

    def places(self, denial: Denial) -> list[Place]:
        """The places of the deploying project and the repository's project, to find the mode in force."""
        deployed = denial.deploy.project or denial.deploy.number
        names = [deployed, denial.repository.project if denial.repository else None]
        return [self._place(name) for name in dict.fromkeys(names)]

    def _place(self, name: str | None) -> Place:
        project = self._projects.find(name) if name else None
        if project is None:
            return Place(frozenset({f"projects/{name}"} if name else ()), whole=False)
        own = {f"projects/{project.id}", f"projects/{project.number}"}
        return Place(frozenset({*own, *project.ancestors}), whole=_organization_known(project))

    def _inside(self, repository: Repository) -> bool | None:
        """Whether the repository is in our organization; None if unknown."""
        if self._organization is None:
            return True
        project = self._projects.find(repository.project)
        if project is None or not _organization_known(project):
            return None
        return project.organization == self._organization


def _call(raw: bytes) -> Call | None:
    """The call in a log entry; None if the entry is unreadable."""
    with suppress(Unreadable):
        return call_of(read_entry(raw))
    return None


_INSERT_ID = re.compile(r"[!-~]{1,512}\Z")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)\Z")


def entry_key(entry: EntryId) -> EntryKey | None:
    """The key to read the entry back; None if no audit log entry of Cloud Run can have it."""
    name, ident, timestamp = entry.log_name or "", entry.insert_id or "", entry.timestamp or ""
    if not (source_of(name) and _INSERT_ID.match(ident) and is_moment(timestamp)):
        return None
    return EntryKey(name, ident, timestamp)


def is_moment(text: str) -> bool:
    """Whether this is a timestamp in the format of Cloud Logging: RFC 3339, with an offset, on an existing day."""
    with suppress(ValueError, OverflowError):
        return _MOMENT.match(text) is not None and 1 < datetime.fromisoformat(text).astimezone(UTC).year < 9999
    return False


def _doubted(denial: Denial, doubt: Reason) -> Denial:
    return msgspec.structs.replace(denial, doubts=tuple(dict.fromkeys((*denial.doubts, doubt))))


def _same_entry(found: Denial | NotADenial, denial: Denial) -> bool:
    """Whether two entries have the same key. The trailing zeros of their timestamps may differ."""
    one, two = found.entry, denial.entry
    if (one.insert_id, one.log_name) != (two.insert_id, two.log_name):
        return False
    return datetime.fromisoformat(one.timestamp or "") == datetime.fromisoformat(two.timestamp or "")


def _says_the_same(found: Denial | NotADenial, denial: Denial) -> bool:
    if not isinstance(found, Denial):
        return False
    return msgspec.structs.replace(found, entry=denial.entry) == denial


def opt_in_values(tag: str) -> tuple[str, str | None]:
    """The two values of the tag: the first lets rules grant, the second lets them also grant to newcomers.

    For `ORGANIZATION/KEY/VALUE` the second is `deployers` of the same key; for `tagValues/N,tagValues/M` it is M.
    """
    first, _, second = tag.partition(",")
    if first.startswith("tagValues/"):
        return first, second or None
    return first, f"{first.rpartition('/')[0]}/{NEWCOMERS}"


def _organization_known(project: Project) -> bool:
    return project.organization is not msgspec.UNSET
