"""Turns denials into remediations, and approvals into grants: the only module that decides, records and acts.

Google Cloud and the ledger are Protocols here. The order of steps is what makes one denial one write and one record
whatever crashes: learn first, then record, then write the policy, then record that it was written. Each step can be
done again without doing it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import msgspec

from remediate import remediation as records
from remediate.cloud.interface import Projects, Registry
from remediate.denial import Denial, NotADenial
from remediate.errors import BadInput, Conflict, Refused, TerminalFault, TransientFault
from remediate.image import Repository, is_project_number
from remediate.ledger.interface import Filter, Ledger
from remediate.policy import Decision, Evidence, Mode, Outcome, decide, in_mode, second_hop
from remediate.principal import Member, parse_member
from remediate.reasons import Reason
from remediate.remediation import Remediation, State, following, instant, remediation_id
from remediate.results import Applied, Handled, Limits, Swept

ACTOR = "remediate"
"""Who acts where no person and no rule does."""

_T = TypeVar("_T")
_CONFLICTS = 50  # times that a ledger step is redone because somebody else was faster


class Remediator:
    """One organization's remediations. Raises TransientFault where the same call may succeed later."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        registry: Registry,
        projects: Projects,
        mode: Mode,
        organization: str | None,
        clock: Callable[[], datetime],
        reviewers: tuple[str, ...] = (),
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        told: Callable[[records.TrailRecord], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._projects = projects
        self._mode = mode
        self._organization = organization
        self._now = clock
        self._reviewers = reviewers
        self._limits = limits
        self._told = told

    def handle(self, subject: Denial | NotADenial) -> Handled:
        """Decide about a log entry, record it, and grant where the decision is to grant."""
        if isinstance(subject, NotADenial):
            return Handled(decide(subject), subject)
        denial = self._with_project_ids(subject)
        if denial.repository is None or denial.member is None:
            return Handled(in_mode(decide(denial), self._mode), denial)
        ident = remediation_id(denial.repository, denial.member)
        if denial.entry.key and self._ledger.counted(denial.entry.key, ident):
            return self._handled_before(denial, ident)
        decision, note = self._decide(denial, denial.repository, denial.member)
        partner = self._propose_second_hop(denial, denial.repository, ident, decision)
        record = self._redone(lambda: self._record(denial, decision, ident, partner, note))
        if record is None:
            counted = denial.entry.key and self._ledger.counted(denial.entry.key, ident)
            return self._handled_before(denial, ident) if counted else Handled(decision, denial)
        applied = self._apply(record) if self._due(record) else Applied(record, written=False)
        return Handled(decision, denial, applied.remediation, partner, applied.written)

    def approve(self, ident: str, *, actor: str, note: str = "", lasts: timedelta | None = None) -> Applied:
        """Grant what was proposed, on the word of `actor` (an address), for good or for as long as it `lasts`.

        Raises BadInput for an unknown id or an address that is none, Refused where this actor may not approve it or
        the world has changed since.
        """

        def step() -> Remediation:
            record, person = self._reviewed(ident, actor)
            if record.state is State.GRANTED and not self._stands(record):
                self._committed(*records.moved(record, State.REMOVED, actor=ACTOR, now=self._now()))
                raise Refused(f"{ident} was granted, and somebody took it away since; the next denial raises it again")
            if record.state in (State.GRANTED, State.APPROVED):
                return record
            approved, step = records.moved(record, State.APPROVED, actor=person.id, now=self._now(), note=note)
            self._still_allowed(record, person)
            repository, member = _names(record)
            ours = not self._registry.has_reader(repository, member)
            ends = instant(self._now() + lasts) if lasts and ours else None
            return self._committed(msgspec.structs.replace(approved, expires=ends, ours=ours), step)

        record = self._redone(step)
        return self._apply(record) if record.state is State.APPROVED else Applied(record, written=False)

    def reject(self, ident: str, *, actor: str, note: str) -> Remediation:
        """Decline what was proposed; the same denial is then counted, not raised again. Raises as `approve` does."""

        def step() -> Remediation:
            record, person = self._reviewed(ident, actor)
            return self._committed(*records.moved(record, State.REJECTED, actor=person.id, now=self._now(), note=note))

        return self._redone(step)

    def revoke(self, ident: str, *, actor: str, note: str) -> Remediation:
        """Take away the member that we added, and nothing else. Raises Refused where we did not add it."""
        record, person = self._reviewed(ident, actor, about_own=True)
        if record.state is not State.GRANTED:
            raise Refused(f"{ident} is {record.state}: it cannot become {State.REVOKED}")
        if not record.ours:
            raise Refused(f"{ident}: {record.member} was a reader before; only what we added is taken away")
        return self._take_away(record, State.REVOKED, actor=person.id, note=note)

    def sweep(self) -> Iterator[Swept]:
        """Do what is due: carry out approvals, end grants, let lapse what nobody answered, note what was removed.

        Idempotent, and safe beside running functions; gives each remediation that it changed, or could not change.
        """
        for ident in list(self._open()):
            record = self._ledger.get(ident)
            if record is None:
                continue
            try:
                done = self._redone(partial(self._swept, ident))
            except TerminalFault as fault:
                yield Swept(record, record.state, str(fault))
                continue
            if done.state is not record.state:
                yield Swept(done, record.state)

    def _open(self) -> Iterator[str]:
        wanted = Filter((State.PROPOSED, State.APPROVED, State.GRANTED))
        page = self._ledger.find(wanted, limit=500)
        while page:
            yield from (record.id for record in page)
            page = self._ledger.find(wanted, limit=500, after=page[-1])

    def _swept(self, ident: str) -> Remediation:
        record = self._ledger.get(ident)
        assert record is not None
        now = self._now()
        late = now - datetime.fromisoformat(record.updated) >= self._limits.lapse_after
        if record.state in (State.PROPOSED, State.APPROVED) and late:
            return self._committed(*records.moved(record, State.LAPSED, actor=ACTOR, now=now))
        if record.state is State.APPROVED:
            return self._apply(record).remediation
        if record.state is State.GRANTED:
            if record.ours and record.expires and datetime.fromisoformat(record.expires) <= now:
                return self._take_away(record, State.EXPIRED, actor=ACTOR, note=f"was granted until {record.expires}")
            if not self._stands(record):
                return self._committed(*records.moved(record, State.REMOVED, actor=ACTOR, now=now))
        return record

    # Learning

    def _with_project_ids(self, denial: Denial) -> Denial:
        """The denial with project ids in place of numbers, and with the deploying project's number."""
        repository, deploy = denial.repository, denial.deploy
        if repository and is_project_number(repository.project) and (owner := self._projects.find(repository.project)):
            repository = msgspec.structs.replace(repository, project=owner.id)
        name = deploy.project or deploy.number
        if name and None in (deploy.project, deploy.number) and (found := self._projects.find(name)):
            deploy = msgspec.structs.replace(deploy, project=found.id, number=found.number)
        return msgspec.structs.replace(denial, repository=repository, deploy=deploy)

    def _decide(self, denial: Denial, repository: Repository, member: Member) -> tuple[Decision, str]:
        """The decision on what Google Cloud says now; a final "no" is a refusal with Google's words as a note."""
        try:
            inside = self._inside(repository)
            ours = inside or self._organization is None
            exists = self._registry.exists(repository) if ours else None
            already = self._registry.has_reader(repository, member) if exists else None
        except TerminalFault as fault:
            return Decision(Outcome.REFUSE, "invariants", (Reason.TERMINAL_ANSWER,)), str(fault)
        evidence = Evidence(exists, inside, self._organization is not None, already)
        return in_mode(decide(denial, evidence), self._mode), ""

    def _inside(self, repository: Repository) -> bool | None:
        """Whether the repository lies inside our organization; None where none is configured, or it cannot be told."""
        if self._organization is None:
            return None
        project = self._projects.find(repository.project)
        if project is None or project.organization is msgspec.UNSET:
            return None
        return project.organization == self._organization

    # Recording

    def _record(
        self, denial: Denial, decision: Decision, ident: str, partner: str | None, note: str
    ) -> Remediation | None:
        """Count the denial and take the decision's transitions, in one commit. None where nothing is to be recorded."""
        now, record = self._now(), self._ledger.get(ident)
        if denial.entry.key and self._ledger.counted(denial.entry.key, ident):
            return None
        trail: list[records.TrailRecord] = []
        if record is None:
            if decision.outcome is Outcome.IGNORE:
                return None
            first = State.REFUSED if decision.outcome is Outcome.REFUSE else State.PROPOSED
            record, opened = records.opened(denial, decision, first, actor=ACTOR, now=now, note=note)
            trail.append(opened)
        else:
            record = records.counted(record, denial, now)
        version = record.version
        held = now - datetime.fromisoformat(record.updated) < self._limits.hold_rejections
        for state, actor in () if self._stands(record) else following(record, decision, actor=ACTOR, held=held):
            record, step = records.moved(record, state, actor=actor, now=now, reasons=decision.reasons, note=note)
            # A rule approves only what is not there yet.
            record = msgspec.structs.replace(record, ours=state is State.APPROVED)
            trail.append(step)
        if partner:
            record = records.partnered(record, partner)
        if trail:
            record = msgspec.structs.replace(record, rule=decision.rule)
        record = msgspec.structs.replace(record, version=version)
        self._ledger.commit(record, trail=trail, denial_key=denial.entry.key)
        for each in trail:
            self._told(each)
        return record

    def _propose_second_hop(
        self, denial: Denial, repository: Repository, partner: str, decision: Decision
    ) -> str | None:
        """Propose the service agent's grant beside the deployer's; the agent is denied next otherwise."""
        agent = second_hop(denial)
        if agent is None or decision.outcome not in (Outcome.ASK, Outcome.GRANT):
            return None
        ident = remediation_id(repository, agent)
        if self._ledger.get(ident):
            self._redone(partial(self._foresee, ident, denial, partner))
        else:
            if self._registry.has_reader(repository, agent):
                return None
            asked = Decision(Outcome.ASK, "otherwise", (Reason.PREDICTED, Reason.CROSS_PROJECT))
            record, trail = records.predicted(denial, agent, asked, actor=ACTOR, now=self._now())
            with suppress(Conflict):  # another instance proposed it in the meantime
                self._committed(records.partnered(record, partner), trail)
        return ident

    def _foresee(self, ident: str, denial: Denial, partner: str) -> None:
        record = self._ledger.get(ident)
        assert record is not None
        seen = records.foreseen(record, denial, partner)
        if seen is not record:
            self._ledger.commit(seen)

    def _stands(self, record: Remediation) -> bool:
        """Whether what we granted is still there, read again: the decision may be older than the grant."""
        if record.state is not State.GRANTED:
            return False
        repository, member = _names(record)
        with suppress(TerminalFault):  # the repository itself is gone
            return self._registry.has_reader(repository, member)
        return False

    def _handled_before(self, denial: Denial, ident: str) -> Handled:
        """A second delivery: nothing to count; a grant that the first left half-done is finished."""
        record = self._ledger.get(ident)
        decision = Decision(Outcome.IGNORE, None, (Reason.DUPLICATE,))
        if record and self._due(record):
            applied = self._apply(record)
            return Handled(decision, denial, applied.remediation, None, applied.written, duplicate=True)
        return Handled(decision, denial, record, duplicate=True)

    # Acting

    def _due(self, record: Remediation) -> bool:
        """Whether an event may write what was approved: never in dry-run, where whoever approves also writes."""
        return record.state is State.APPROVED and self._mode is Mode.ENFORCE

    def _apply(self, record: Remediation) -> Applied:
        """Write the one member into the one binding, then record that. Safe to do again at any point."""
        repository, member = _names(record)
        try:
            change = self._registry.add_reader(repository, member, request_reason=record.id)
        except TerminalFault as fault:
            final = self._finish(record, State.FAILED, (*record.reasons, Reason.TERMINAL_ANSWER), str(fault))
            return Applied(final, written=False)
        note = (
            f"policy etag {change.etag}"
            if change.written
            else "found in the binding: put there by an earlier attempt, or by somebody else"
        )
        return Applied(self._finish(record, State.GRANTED, record.reasons, note), change.written)

    def _take_away(self, record: Remediation, state: State, *, actor: str, note: str) -> Remediation:
        """Take the member out of the binding, then record that. Safe to do again at any point."""
        repository, member = _names(record)
        self._registry.remove_reader(repository, member, request_reason=record.id)

        def step() -> Remediation:
            current = self._ledger.get(record.id) or record
            if current.state is not State.GRANTED:
                return current  # another instance recorded it
            return self._committed(*records.moved(current, state, actor=actor, now=self._now(), note=note))

        return self._redone(step)

    def _finish(self, record: Remediation, state: State, reasons: tuple[Reason, ...], note: str) -> Remediation:
        def step() -> Remediation:
            current = self._ledger.get(record.id) or record
            if current.state is not State.APPROVED:
                return current  # another instance finished it
            return self._committed(
                *records.moved(current, state, actor=ACTOR, now=self._now(), reasons=reasons, note=note)
            )

        return self._redone(step)

    # Reviewing

    def _reviewed(self, ident: str, actor: str, *, about_own: bool = False) -> tuple[Remediation, Member]:
        """The record and the reviewer. Raises Refused where the reviewer would decide about their own deploy."""
        record = self._ledger.get(ident)
        if record is None:
            raise BadInput(f"there is no remediation {ident!r}", advice="`python -m remediate list` shows all.")
        person = parse_member(actor)
        if not isinstance(person, Member):
            raise BadInput(f"{actor!r} is nobody who can review: expected the address of a user or service account")
        own = {Member(text).key for text in (record.member, *record.deployers)}
        if person.key in own and not about_own:
            raise Refused(
                f"{person.id} may not review {ident}: it is about their own deploy",
                advice="Somebody who is neither the member nor the deployer has to.",
            )
        if self._reviewers and not {person.key, person.domain} & set(self._reviewers):
            raise Refused(f"{person.id} is not among the reviewers", advice="REMEDIATE_REVIEWERS names who may review.")
        return record, person

    def _still_allowed(self, record: Remediation, person: Member) -> None:
        """Refuse, and record it, where the repository is gone or no longer ours since it was proposed."""
        repository, _ = _names(record)
        inside = self._inside(repository)
        reasons = []
        if self._organization is not None and inside is not True:
            reasons.append(Reason.OTHER_ORGANIZATION if inside is False else Reason.ORGANIZATION_UNKNOWN)
        elif not self._registry.exists(repository):
            reasons.append(Reason.REPOSITORY_NOT_FOUND)
        if reasons:
            why = tuple(reasons)
            self._committed(*records.moved(record, State.REFUSED, actor=person.id, now=self._now(), reasons=why))
            raise Refused(f"{record.id} is refused now: {reasons[0].sentence}")

    def _committed(self, record: Remediation, trail: records.TrailRecord) -> Remediation:
        self._ledger.commit(record, trail=[trail])
        self._told(trail)
        return record

    def _redone(self, step: Callable[[], _T]) -> _T:
        """The step's result, redone on fresh records as long as somebody else is faster."""
        for _ in range(_CONFLICTS):
            try:
                return step()
            except Conflict:
                continue
        raise TransientFault("the ledger's record kept changing; the event comes again")


def _names(record: Remediation) -> tuple[Repository, Member]:
    """A record's repository and member, typed; what was recorded was parsed before."""
    repository, member = Repository.parse(record.repository), parse_member(record.member)
    assert repository is not None
    assert isinstance(member, Member)
    return repository, member
