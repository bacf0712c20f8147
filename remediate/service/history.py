"""Asks Cloud Logging whether a member deployed from a repository before, and whether its access was taken away since.

What may not be read is None, "not known". A passing fault, the minute's spent look-ups among them, is raised: the event
comes again. Admin Activity logs are kept for 400 days ("Quotas and limits", Cloud Logging).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from remediate.cloud.interface import Cloud, Logs
from remediate.entries.access_changes import access_removed
from remediate.entries.denial import Denial, Reader
from remediate.entries.earlier_deploys import Begun, DeployPlace, EarlierDeploy, completed_deploys, earlier_deploys
from remediate.errors import TerminalFault
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from remediate.records.remediation import when

LOOKED_BACK = timedelta(days=400)
_REMEMBERED = timedelta(minutes=10)  # that an answer about earlier deploys is kept
_MOST_KEPT = 10_000
_MOST_OPERATIONS = 50  # begun ones whose ends are looked up at once, the newest

_Question = tuple[str, Repository, Member]


class Past(NamedTuple):
    """`previously_deployed` and `access_removed` of `Evidence`; None is "not known"."""

    previously_deployed: bool | None = None
    access_removed: bool | None = None


class History:
    """The past of members and repositories. `own` are the keys of the service's own accounts."""

    def __init__(self, cloud: Cloud, clock: Callable[[], datetime], own: Sequence[str] = ()) -> None:
        self._logs = cloud.logs
        self._projects = cloud.projects
        self._roles = cloud.roles
        self._now = clock
        self._own = own
        self._kept: dict[_Question, tuple[datetime, EarlierDeploy | None]] = {}

    def past(self, denial: Denial, taken_away: str | None) -> Past:
        """What is known of the denied member's past. `taken_away`: when a grant of ours was last taken away, by record.

        Access counts as taken away since the newest earlier deploy; without one, within the 400 days. Raises
        TransientFault where the log cannot be asked just now.
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
        since = newest.at if newest else before - LOOKED_BACK
        return Past(deployed, self.removed(repository, member, since, taken_away))

    def place(self, repository: Repository, deploying: Iterable[str | None] | None = None) -> DeployPlace | None:
        """Where deploys of the repository count, by all names; None where its project cannot be seen.

        `deploying` names the project that is deployed to; the repository's own where None.
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
        """Each member's newest proven deploy in that time, by the member's key.

        One look-up, and one more where a v2 operation has to be joined. Raises TerminalFault where the log may not be
        read, or holds too much; TransientFault where it cannot be asked just now.
        """
        return {} if self._logs is None else self._found(self._logs, project, place, members, since, before)

    def removed(self, repository: Repository, member: Member, since: datetime, taken_away: str | None) -> bool | None:
        """Whether somebody took the member's access away since then; None where that is not known.

        Never remembered: what was taken away a moment ago must not be granted again. Raises as `deploys` does, save
        that a log that may not be read is "not known".
        """
        if taken_away is not None and datetime.fromisoformat(taken_away) >= since:
            return True
        with suppress(TerminalFault):
            return self._removed(repository, self._policy_changes(repository, since), member, since)
        return None

    def keep_access(self, repository: Repository, deploys: Iterable[EarlierDeploy]) -> list[EarlierDeploy]:
        """Those of the deploys whose members lost nothing since, surely; one look-up for all. Raises as `deploys`."""
        made = list(deploys)
        if not made:
            return []
        entries = list(self._policy_changes(repository, min(each.at for each in made)))
        return [each for each in made if self._removed(repository, entries, each.member, each.at) is False]

    def _policy_changes(self, repository: Repository, since: datetime) -> Iterable[bytes]:
        project = self._projects.find(repository.project)
        if self._logs is None or project is None:
            raise TerminalFault(f"who set the policy of {repository} cannot be looked up")
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
        question, now = (project, place.repositories[0], member), self._now()
        kept = self._kept.get(question)
        if kept and now - kept[0] < _REMEMBERED and (kept[1] is None or kept[1].at < before):
            return kept[1]
        found = self._found(logs, project, place, [member], before - LOOKED_BACK, before).get(member.key)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[question] = (now, found)
        return found

    def _found(
        self,
        logs: Logs,
        project: str,
        place: DeployPlace,
        members: Sequence[Member],
        since: datetime,
        before: datetime,
    ) -> dict[str, EarlierDeploy]:
        """Reads no further than it takes: until each member's newest deploy that needs no other entry is found.

        What was found before a search was given up proves as much; where nothing was, it raises what ended the search.
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
