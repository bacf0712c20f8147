"""Turns a denial into what Google Cloud says about it now: which projects, inside our organization, already a reader.

What cannot be learnt is None, "not known", and never "no"; a passing fault is raised, so that the event comes again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec

from remediate.cloud.interface import Cloud, EntryKey, Project, Projects, Registry, RepositoryDescription
from remediate.decisions.organization import Home, HomeNames, home_by_name, home_project
from remediate.decisions.policy import Rules
from remediate.decisions.variables import NEWCOMERS, Evidence
from remediate.entries.denial import Denial, EntryId, NotADenial, Reader, understand
from remediate.entries.joining import Call, call_of, join_call, resolve_deploying_project
from remediate.entries.log_entry import read_entry
from remediate.entries.source import source_of
from remediate.errors import TerminalFault, TransientFault, Unreadable
from remediate.iam.access import can_read
from remediate.iam.allow_policy import AlreadyThere, Binding, edit_to_add
from remediate.iam.grant import Grant
from remediate.iam.member import Member
from remediate.iam.repository import Repository, is_project_number
from remediate.reasons import Reason
from remediate.records.modes import Place
from remediate.records.remediation import when

LAG = timedelta(minutes=2)
"""How long an entry may take from its event to being readable; after that it is not known to exist."""


class PolicySnapshot:
    """What is seen of repositories, and of what lies above them, while one denial is decided: each is looked at once.

    Where one policy above could not be had in time, the others are not waited for: what they say is not known then.
    """

    def __init__(self, registry: Registry, projects: Projects) -> None:
        self._registry = registry
        self._projects = projects
        self._above: dict[str, list[Binding] | None] = {}
        self._in_time = True
        self._kinds: dict[Repository, RepositoryDescription | None] = {}
        self._bindings: dict[Repository, list[Binding]] = {}

    def describe(self, repository: Repository) -> RepositoryDescription | None:
        """As `Registry.kind`."""
        if repository not in self._kinds:
            self._kinds[repository] = self._registry.describe(repository)
        return self._kinds[repository]

    def bindings(self, repository: Repository) -> list[Binding]:
        """As `Registry.bindings`."""
        if repository not in self._bindings:
            self._bindings[repository] = self._registry.bindings(repository)
        return self._bindings[repository]

    def above(self, scope: str) -> list[Binding] | None:
        """As `Projects.bindings`; None, too, where nobody answered."""
        if scope not in self._above:
            self._above[scope] = None
            try:
                if self._in_time:
                    self._above[scope] = self._projects.bindings(scope)
            except TransientFault:
                self._in_time = False
            except TerminalFault:
                pass
        return self._above[scope]


class EvidenceCollector:
    """Asks Google Cloud what a decision stands on. `organization` is ours; None where none is configured."""

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
        """The denial as `resolve_deploying_project` has it, with what only the call behind it tells."""
        placed = self.resolve_projects(denial)
        return placed if isinstance(placed, NotADenial) else self._with_call(placed)

    def resolve_projects(self, denial: Denial) -> Denial | NotADenial:
        """The denial with project ids in place of numbers, and the deploying project's number.

        It is no denial where Resource Manager says that its log is another project's.
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
        """The denial with what only its operation's call tells; as it is where no such call is found.

        Without it those behind the caller could approve their own deploy, and nobody would know that they may deploy.
        Raises TransientFault where the log cannot be asked just now, or does not have the call yet.
        """
        project = denial.deploy.project or denial.deploy.number
        if self._logs is None or not denial.operation or not project:
            return denial
        at = when(denial, self._now())
        with suppress(TerminalFault):
            found = self._logs.operation_entries(project, denial.operation, at)
            calls = [call for raw in found if (call := _call(raw)) and denial.operation in call.operations]
            if not calls and self._now() - at < LAG:
                raise TransientFault("Cloud Logging does not have this operation's call yet; the event comes again")
            return join_call(denial, calls)
        return denial

    def snapshot(self) -> PolicySnapshot:
        """A fresh sight, for the decisions about one denial."""
        return PolicySnapshot(self._registry, self._projects)

    def evidence(
        self,
        denial: Denial,
        rules: Rules,  # noqa: ARG002  (what is dear is learnt only where rules look at it)
        snapshot: PolicySnapshot,
        *,
        propagating: bool = False,
        denials: int = 1,
    ) -> Evidence:
        """What a denial with repository and member is decided on. Raises TerminalFault where Google says no.

        What the log tells of the member's past is not in it: see `History`.
        """
        repository, member = denial.grant.repository, denial.grant.member
        inside = self._inside(repository)
        kind = snapshot.describe(repository) if inside else None
        bindings = snapshot.bindings(repository) if kind else None
        opted_in, newcomers = self._opted_in(repository, kind)
        home = self._home(denial, member)
        if denial.reader is Reader.SERVICE_AGENT and denial.deployer:  # a grant to the agent serves who deployed
            home = home.with_other(self._home(denial, denial.deployer))
        already = None if bindings is None else isinstance(edit_to_add(bindings, member), AlreadyThere)
        return Evidence(
            repository_exists=kind is not None if inside else None,
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
            verified=True,  # until somebody wants to write on it: see `verified`
            denials=denials,
            deploy_ancestors=self._ancestors(denial.deploy.project or denial.deploy.number),
            image_ancestors=self._ancestors(repository.project),
        )

    def _inherited(self, grant: Grant, own: list[Binding], snapshot: PolicySnapshot) -> bool | None:
        """Whether the member can read by another role, or from further up; None where that cannot be told."""
        ancestors = self._ancestors(grant.repository.project)
        levels: list[list[Binding] | None] = [own, *(snapshot.above(scope) for scope in ancestors or ())]
        if ancestors is None:
            levels.append(None)
        return can_read(levels, grant.member, self._roles.holds)

    def _barred(self, repository: Repository, member: Member) -> bool | None:
        """Whether something that no grant overrides bars the member; None where nobody was asked, or nobody knows."""
        if self._troubleshooter is None:
            return None
        with suppress(TerminalFault, TransientFault, msgspec.MsgspecError):
            return self._troubleshooter.denied_by_policy(repository, member)
        return None

    def _opted_in(self, repository: Repository, kind: RepositoryDescription | None) -> tuple[bool | None, bool | None]:
        """Whether the registry's owner lets rules grant here, and to newcomers; None where that cannot be told."""
        labelled = kind.newcomers if kind else None
        if self._opt_in_tag is None:
            return True, labelled
        tags = self._tags(repository)
        if tags is None:
            return None, True if labelled else None
        enters, newcomers = opt_in_values(self._opt_in_tag)
        return bool(tags & {enters, newcomers}), True if newcomers in tags else labelled

    def _tags(self, repository: Repository) -> frozenset[str] | None:
        project = self._projects.find(repository.project)
        with suppress(TerminalFault, TransientFault):
            return None if project is None else self._projects.tags(project)
        return None

    def _home(self, denial: Denial, member: Member) -> Home:
        """Where the member lives: in our organization or outside; unknown where its project cannot be seen."""
        deployed = denial.deploy.project or denial.deploy.number
        deploying = self._projects.find(deployed) if deployed else None
        ours = self._organization or (deploying.organization if deploying else None)
        organization = ours if isinstance(ours, str) else None
        name = home_project(member)
        if name is None:
            return home_by_name(member, self._home_names, organization)
        project = None
        with suppress(TerminalFault):  # a name that Resource Manager does not take makes it unknown, and no refusal
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
        """Whether Cloud Logging itself has this entry, and it says the same.

        False where it says something else; None where it does not have it, or may not be asked. Raises TransientFault
        where it does not have it yet (logs take a moment to be readable), or no more look-ups are left this minute.
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
                raise TransientFault("Cloud Logging does not have the entry yet; the event comes again")
        return None

    def _understood(self, raw: bytes) -> Denial | NotADenial | None:
        with suppress(Unreadable):
            subject = understand(read_entry(raw))
            return self.resolve(subject) if isinstance(subject, Denial) else subject
        return None

    def places(self, denial: Denial) -> list[Place]:
        """Where the deploying project and the repository's lie, for the mode in force there."""
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
        """Whether the repository lies inside our organization; None where it cannot be told."""
        if self._organization is None:
            return True
        project = self._projects.find(repository.project)
        if project is None or not _organization_known(project):
            return None
        return project.organization == self._organization


def _call(raw: bytes) -> Call | None:
    """The call that an entry of the log is; None for one that cannot be read."""
    with suppress(Unreadable):
        return call_of(read_entry(raw))
    return None


_INSERT_ID = re.compile(r"[!-~]{1,512}\Z")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)\Z")


def entry_key(entry: EntryId) -> EntryKey | None:
    """What the log is asked for; None where no audit log entry of Cloud Run can be called so."""
    name, ident, moment = entry.log_name or "", entry.insert_id or "", entry.timestamp or ""
    if not (source_of(name) and _INSERT_ID.match(ident) and is_moment(moment)):
        return None
    return EntryKey(name, ident, moment)


def is_moment(text: str) -> bool:
    """Whether this is a timestamp as Cloud Logging writes one: RFC 3339, with an offset, of a day that exists."""
    with suppress(ValueError, OverflowError):
        return _MOMENT.match(text) is not None and 1 < datetime.fromisoformat(text).astimezone(UTC).year < 9999
    return False


def _doubted(denial: Denial, doubt: Reason) -> Denial:
    return msgspec.structs.replace(denial, doubts=tuple(dict.fromkeys((*denial.doubts, doubt))))


def _same_entry(found: Denial | NotADenial, denial: Denial) -> bool:
    """Whether two entries are one: the log's text of a timestamp may differ in its trailing zeros."""
    one, two = found.entry, denial.entry
    if (one.insert_id, one.log_name) != (two.insert_id, two.log_name):
        return False
    return datetime.fromisoformat(one.timestamp or "") == datetime.fromisoformat(two.timestamp or "")


def _says_the_same(found: Denial | NotADenial, denial: Denial) -> bool:
    if not isinstance(found, Denial):
        return False
    return msgspec.structs.replace(found, entry=denial.entry) == denial


def opt_in_values(tag: str) -> tuple[str, str | None]:
    """The tag's two values: the one that lets rules grant, and the one that lets them grant to newcomers too.

    Of `ORGANIZATION/KEY/VALUE` the second is the same key's `deployers`; of `tagValues/N,tagValues/M` the latter.
    """
    first, _, second = tag.partition(",")
    if first.startswith("tagValues/"):
        return first, second or None
    return first, f"{first.rpartition('/')[0]}/{NEWCOMERS}"


def _organization_known(project: Project) -> bool:
    return project.organization is not msgspec.UNSET
