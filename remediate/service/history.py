"""Asks Cloud Logging whether a member deployed from a repository earlier, and whether it lost its access since.

None means unknown, for example because the service may not read the log. A temporary fault is raised, so that the event
is redelivered. Admin Activity logs are kept for 400 days ("Quotas and limits", Cloud Logging).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import tee
from typing import NamedTuple

from msgspec.structs import replace

from remediate.cloud.interface import Cloud, Logs
from remediate.entries.access_changes import access_removed
from remediate.entries.denial import Denial, Reader
from remediate.entries.earlier_deploys import Begun, DeployPlace, EarlierDeploy, completed_deploys, earlier_deploys
from remediate.errors import TerminalFault
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from remediate.records.lifecycle import when
from remediate.timed_cache import TimedCache
from remediate.times import PROPAGATION, parse_time

LOOKED_BACK = timedelta(days=400)
_REMEMBERED = timedelta(minutes=10)  # how long an answer about earlier deploys is cached
_MOST_KEPT = 10_000
_MOST_OPERATIONS = 50  # operations, the newest, whose ends one search looks up

_Question = tuple[str, Repository, Member]


class Past(NamedTuple):
    """`previously_deployed` and `access_removed` of `Evidence`; None means unknown."""

    previously_deployed: bool | None = None
    access_removed: bool | None = None


class History:
    """The past of members and repositories. `own` are the keys of the service's accounts.

    `lag`: how long a member may still read after its access ended. A deploy in that time does not prove access.
    """

    def __init__(
        self,
        cloud: Cloud,
        clock: Callable[[], datetime],
        own: Sequence[str] = (),
        lag: timedelta = PROPAGATION,
    ) -> None:
        self._lag = lag
        self._logs = cloud.logs
        self._projects = cloud.projects
        self._roles = cloud.roles
        self._now = clock
        self._own = own
        self._kept = TimedCache[_Question, EarlierDeploy | None](
            _REMEMBERED.total_seconds(), _MOST_KEPT, lambda: clock().timestamp()
        )

    def past(self, denial: Denial, taken_away: str | None) -> Past:
        """The past of the denied member. `taken_away`: when the record says that the grant was last revoked or removed.

        A removal of access counts from shortly (`lag`) before the newest earlier deploy on; without a deploy, within
        400 days. A certain removal counts within 400 days, unless Cloud Run certainly read the image for that deploy.
        Raises TransientFault if the log does not answer now.
        """
        project, repository, member = denial.deploy.project, denial.repository, denial.member
        if self._logs is None or not project or repository is None or member is None:
            return Past()
        if denial.reader is not Reader.DEPLOYER:
            return Past()  # a service agent deploys nothing
        place = self.place(repository, (project, denial.deploy.number))
        if place is None:
            return Past()
        before = when(denial, self._now())
        newest, deployed = None, None
        with suppress(TerminalFault):
            newest = self._newest(self._logs, project, place, member, before)
            deployed = newest is not None
        removed = self.removed(repository, member, newest, taken_away, before)
        return Past(deployed, removed)

    def place(self, repository: Repository, deploying: Iterable[str | None] | None = None) -> DeployPlace | None:
        """The deploying project and the repository, by all their names; None if the service may not see the project.

        `deploying` names the deploying project; None for the repository's own project.
        """
        project = self._projects.find(repository.project)
        if project is None:
            return None
        names = (project.id, project.number)
        called = names if deploying is None else tuple(name for name in deploying if name)
        return DeployPlace(called, tuple(replace(repository, project=name) for name in names))

    def deploys(
        self, project: str, place: DeployPlace, members: Sequence[Member], since: datetime, before: datetime
    ) -> dict[str, EarlierDeploy]:
        """The newest proven deploy of each member in that time, by the key of the member.

        Needs one search, and a second one to join the entries of a v2 operation. Raises TerminalFault if the service
        may not read the log, or the log has too many entries; TransientFault if the log does not answer now.
        """
        return {} if self._logs is None else self._found(self._logs, project, place, members, since, before)

    def removed(
        self,
        repository: Repository,
        member: Member,
        newest: EarlierDeploy | None,
        taken_away: str | None,
        before: datetime,
    ) -> bool | None:
        """Whether the member lost its access, and `newest`, its newest deploy, does not outweigh that; None if unknown.

        Never cached: access that was removed a moment ago must not be granted again. Raises as `deploys` does, except
        that a log that the service may not read means None.
        """
        oldest = before - LOOKED_BACK
        since = newest.at - self._lag if newest else oldest
        from_ = since if newest and newest.is_certain else min(since, oldest)
        if taken_away is not None and parse_time(taken_away) >= from_:
            return True
        with suppress(TerminalFault):
            return self._outweighed(repository, self._policy_changes(repository, from_), member, since, from_)
        return None

    def keep_access(self, repository: Repository, deploys: Iterable[EarlierDeploy]) -> list[EarlierDeploy]:
        """The deploys whose members certainly lost no access since; one search for all. Raises as `deploys` does."""
        made = list(deploys)
        if not made:
            return []
        oldest = self._now() - LOOKED_BACK
        since = {each: each.at - self._lag for each in made}
        from_ = {each: since[each] if each.is_certain else min(since[each], oldest) for each in made}
        entries = list(self._policy_changes(repository, min(from_.values())))
        return [
            each
            for each in made
            if self._outweighed(repository, entries, each.member, since[each], from_[each]) is False
        ]

    def _outweighed(
        self, repository: Repository, entries: Iterable[bytes], member: Member, since: datetime, from_: datetime
    ) -> bool | None:
        """As `_removed` since that time; from `from_` until then, only a removal that is certain counts."""
        newer, all_ = tee(entries)  # the search ends where the first part decides
        lately = self._removed(repository, newer, member, since)
        if lately is not False or from_ == since:
            return lately
        return self._removed(repository, all_, member, from_) is True

    def _policy_changes(self, repository: Repository, since: datetime) -> Iterable[bytes]:
        project = self._projects.find(repository.project)
        if self._logs is None or project is None:
            raise TerminalFault(f"cannot look up who changed the policy of {repository}")
        return self._logs.policy_changes(replace(repository, project=project.id), since)

    def _removed(
        self, repository: Repository, entries: Iterable[bytes], member: Member, since: datetime
    ) -> bool | None:
        project = self._projects.find(repository.project)
        if project is None:
            return None
        named = replace(repository, project=project.id)
        return access_removed(entries, named, project.number, member, since, self._roles.holds, self._own)

    def _newest(
        self, logs: Logs, project: str, place: DeployPlace, member: Member, before: datetime
    ) -> EarlierDeploy | None:
        return self._kept.get(
            (project, place.repositories[0], member),
            lambda: self._found(logs, project, place, [member], before - LOOKED_BACK, before).get(member.key),
            is_good=lambda deploy: deploy is None or deploy.at < before,
        )

    def _found(
        self,
        logs: Logs,
        project: str,
        place: DeployPlace,
        members: Sequence[Member],
        since: datetime,
        before: datetime,
    ) -> dict[str, EarlierDeploy]:
        """Reads until it has the newest deploy of each member that needs no other entry.

        Deploys that were found before a search failed are still proven. Without any, raises the error of the search.
        """
        newest: dict[str, EarlierDeploy] = {}
        begun: dict[str, list[Begun]] = {}
        most = max(2, _MOST_OPERATIONS // len(members))
        gave_up: TerminalFault | None = None
        try:
            entries = logs.deploys(project, place.repositories, members, since, before)
            for found in earlier_deploys(entries, place, members, since, before):
                if isinstance(found, EarlierDeploy):
                    newest.setdefault(found.member.key, found)
                elif found.deploy.member.key not in newest:
                    begun.setdefault(found.deploy.member.key, []).append(found)
                if all(each.key in newest or len(begun.get(each.key, ())) >= most for each in members):
                    break
        except TerminalFault as fault:
            gave_up = fault
        try:
            for deploy in self._completed(
                logs, project, place, [one for each in begun.values() for one in each[:most]]
            ):
                key = deploy.member.key
                newest[key] = max(newest.get(key, deploy), deploy, key=lambda each: each.at)
        except TerminalFault as fault:
            gave_up = fault
        if gave_up is not None and not newest:
            raise gave_up
        return newest

    def _completed(self, logs: Logs, project: str, place: DeployPlace, begun: list[Begun]) -> list[EarlierDeploy]:
        if not begun:
            return []
        ends = logs.ends(project, [each.operation for each in begun], min(each.deploy.at for each in begun))
        return completed_deploys(begun, ends, place)
