"""Turns somebody's word into a grant: it is about what they saw, and still holds when it is carried out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import msgspec

from remediate.decisions.policy import Decision, Outcome
from remediate.entries.denial import Reader
from remediate.errors import BadInput, Refused, RemediateError, Stale
from remediate.iam.member import Member
from remediate.ledger.interface import Ledger
from remediate.reasons import Reason
from remediate.records.approval_count import Approval, key, people, same, shortest, valid
from remediate.records.remediation import RULE, Remediation, State, based_on, content_digest, ends, transition
from remediate.records.results import Applied, Check, Limits, Verdict
from remediate.records.transitions import differs_materially
from remediate.service.decider import Decider
from remediate.service.executor import ACTOR, Executor
from remediate.service.reviewers import Reviewers, own_deploy
from remediate.service.testimony import Testimony
from remediate.times import instant

_THERE_ALREADY = (Reason.ALREADY_GRANTED, Reason.STILL_PROPAGATING)


class Approvals:
    """What was approved, by a person or a rule, on its way into a policy. Raises as `Remediator.approve` does."""

    def __init__(
        self,
        ledger: Ledger,
        decider: Decider,
        executor: Executor,
        reviewers: Reviewers,
        limits: Limits,
        clock: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._decider = decider
        self._executor = executor
        self._reviewers = reviewers
        self._limits = limits
        self._now = clock

    def approve(
        self,
        ident: str,
        word: Approval,
        asked: Testimony,
        *,
        note: str,
        max_duration: timedelta | None,
        content: str | None,
    ) -> Applied:
        """As `Remediator.approve`; `asked` is what was read back from the log, and asks for what is missing."""

        def step() -> Remediation:
            record = require_record(self._ledger, ident)
            person = self.reviewer(record, word.actor, asked)
            record = self._executor.finish_revocation(
                record
            )  # what somebody began to take away is not approved half-way
            if record.state is State.GRANTED:
                return self._granted(record, max_duration)
            transition(record, State.APPROVED, actor=person.id, now=self._now())  # raises where that cannot be
            if content is not None and content != content_digest(record):
                raise Stale(
                    f"{ident} is not what you saw any more: its content is {content_digest(record)}, not {content}",
                    advice=f"Look again: remediate show {ident}",
                )
            if record.state is State.APPROVED and record.approver == person.id and max_duration is None:
                return record  # the same word again: it is carried out, if it still may be
            if self._executor.write_already_applied(record):
                return record  # who approved it, and until when, is said already: only the record of the write is due
            return self._approved(record, person, word, asked, note)

        before = self._ledger.get(ident)
        record = self._executor.retry_on_conflict(step)
        if record.state is not State.APPROVED:
            return Applied(record, written=False)
        again = before is not None and before.state is State.APPROVED and record.version == before.version
        return self.carry_out(record) if again else self._executor.apply(record)

    def reviewer(self, record: Remediation, actor: str, asked: Testimony) -> Member:
        """The reviewer of this record. Raises Refused where they may not review it, or the log names them in it."""
        return self._reviewers.of(record, actor, cleared=lambda person: asked.cleared(record, person))

    def check(self, record: Remediation, actor: str | None, asked: Testimony) -> Check:
        """What an approval would find now. Raises TransientFault, and TerminalFault where Google says no."""
        verdict, barred = asked.verdict(record, *filter(None, (actor,))), ""
        try:
            if actor is not None:
                _not_theirs(record, self.reviewer(record, actor, asked), verdict)
        except RemediateError as error:
            barred = str(error)
        declare = self._limits.one_may_declare and not verdict.deployer_known
        return Check(verdict, self._needed(record, record.approvals_needed, verdict, declared=False), declare, barred)

    def _approved(
        self, record: Remediation, person: Member, word: Approval, asked: Testimony, note: str
    ) -> Remediation:
        """One approval more, on what the log has: the grant's, or the first of several."""
        verdict = asked.verdict(record, person.id)
        _not_theirs(record, person, verdict)
        decision = self._decided(record, person, verdict)
        there = decision.outcome is Outcome.IGNORE
        if verdict.denial is not None:
            record = based_on(record, verdict.denial)
        needed = self._needed(record, decision.approvals, verdict, declared=word.not_mine)
        others = valid(record.approvals, content_digest(record), person.id, partial(self._may_still, record, asked))
        own = msgspec.structs.replace(
            word, actor=person.id, at=instant(self._now()), of=needed, content=content_digest(record)
        )
        given = (*others, own)
        notes = [note, *verdict.notes]
        if Member(person.id).key in {Member(text).key for text in record.deployers}:
            notes.append(f"an entry that named {person.id} as deployer is not in the log, or names somebody else")
        reasons = record.reasons if verdict.verified else (*record.reasons, Reason.EVENT_UNVERIFIED)
        step = partial(transition, record, actor=person.id, now=self._now(), note="; ".join(filter(None, notes)),
            reasons=tuple(dict.fromkeys(reasons)),
        )  # fmt: skip
        if people(given) < needed:
            if record.state is State.PROPOSED and same(given, record.approvals):
                return record  # the same word again, and still another one is missing
            return self._executor.commit(*step(State.PROPOSED, approvals=given))
        counted = given if needed > 1 or own.not_mine else ()
        if there:
            return self._executor.commit(*step(State.APPROVED, approvals=counted))
        by_rules = min(filter(None, (record.max_duration, decision.expires_after)), default=None)
        until = ends(by_rules, shortest(given), self._now())
        return self._executor.commit(*step(State.APPROVED, added_by_us=True, expires=until, approvals=counted))

    def _needed(self, record: Remediation, by_rule: int, verdict: Verdict, *, declared: bool) -> int:
        """How many people have to approve: as many as the rule says, and two where it may be the approver's own."""
        alone = verdict.deployer_known or (declared and self._limits.one_may_declare)
        return max(record.approvals_needed, by_rule, 1 if alone else 2)

    def _may_still(self, record: Remediation, asked: Testimony, actor: str) -> bool:
        """Whether somebody who approved before may still do so."""
        try:
            _not_theirs(record, self.reviewer(record, actor, asked), asked.verdict(record, actor))
        except (Refused, BadInput):
            return False
        return True

    def carry_out(self, record: Remediation) -> Applied:
        """Apply an approval of some time ago, where it still holds on what Google Cloud and the rules say now.

        A write that was done already is recorded first, whatever has changed: what is there must be known to be there.
        """
        if self._executor.write_already_applied(record):
            return self._executor.apply(record)
        over = record.expires is not None and datetime.fromisoformat(record.expires) <= self._now()
        decision = None if over else self._decider.reevaluate(record)
        if decision is None:
            return self._withdrawn(record, State.LAPSED, f"was approved until {record.expires}", None)
        if decision.outcome is Outcome.REFUSE:
            return self._withdrawn(record, State.REFUSED, "", decision)
        if self._holds(record, decision):
            return self._executor.apply(record)
        return self._withdrawn(record, State.PROPOSED, "the world has changed since it was approved", decision)

    def _holds(self, record: Remediation, decision: Decision) -> bool:
        """Whether the word that was given is still enough: a rule's own, or that of somebody who may give it."""
        if decision.outcome is Outcome.IGNORE:
            return decision.reasons[0] in _THERE_ALREADY
        approver = record.approver or ""
        if approver.startswith(RULE):
            return decision.outcome is Outcome.GRANT
        words = [each.actor for each in record.approvals] or [approver]
        unknown = not record.deployers and Reader.DEPLOYER not in record.readers
        needed = max(each.of for each in record.approvals) if record.approvals else 2 if unknown else 1
        enough = len({key(each) for each in words}) >= max(needed, decision.approvals)
        return enough and all(self._reviewers.among(decision.reviewers, each) for each in words)

    def _withdrawn(self, record: Remediation, state: State, note: str, decision: Decision | None) -> Applied:
        def step() -> Remediation:
            current = self._ledger.get(record.id) or record
            if (current.state, current.cycle) != (State.APPROVED, record.cycle):
                return current
            return self._executor.commit(
                *transition(current, state, actor=ACTOR, now=self._now(), note=note, decision=decision)
            )

        return Applied(self._executor.retry_on_conflict(step), written=False)

    def _granted(self, record: Remediation, max_duration: timedelta | None) -> Remediation:
        """What is granted already, where it still is."""
        if not self._executor.is_still_granted(record):
            self._executor.commit(*transition(record, State.REMOVED, actor=ACTOR, now=self._now()))
            raise Refused(f"{record.id} was granted, and somebody took it away since; the next denial raises it again")
        if max_duration is not None:
            until = record.expires or "it is revoked"
            raise Refused(f"{record.id} is granted already, until {until}: revoke it first")
        return record

    def _decided(self, record: Remediation, person: Member, verdict: Verdict) -> Decision:
        """Decide again; where it comes out differently than it was proposed, record that in its place, and refuse."""
        decision = self._decider.reevaluate(record, verdict.denial, verified=verdict.verified)
        why = "; ".join(reason.sentence for reason in decision.reasons)
        step = partial(transition, record, actor=person.id, now=self._now(), decision=decision)
        if decision.outcome is Outcome.REFUSE:
            self._executor.commit(*step(State.REFUSED, note="; ".join(verdict.notes)))
            raise Refused(f"{record.id} is refused now: {decision.reasons[0].sentence}")
        if decision.outcome is Outcome.IGNORE and decision.reasons[0] in _THERE_ALREADY:
            return decision
        if record.state in (State.PROPOSED, State.FAILED) and differs_materially(record, decision):
            self._executor.commit(*step(State.PROPOSED, note="the world has changed since it was proposed"))
            raise Refused(f"{record.id} is proposed anew, because the world has changed: {why}")
        if not self._reviewers.among(decision.reviewers, person.id):
            allowed = ", ".join(decision.reviewers)
            raise Refused(f"{person.id} may not review {record.id}: rule {decision.rule!r} leaves it to {allowed}")
        if decision.outcome is Outcome.IGNORE:
            raise Refused(f"{record.id} is not granted, as that would cure nothing: {why}")
        return decision


def _not_theirs(record: Remediation, person: Member, verdict: Verdict) -> None:
    """Raises Refused where the log itself names this person as deployer."""
    if person.key in {each.key for each in verdict.people}:
        raise own_deploy(record, person)


def require_record(ledger: Ledger, ident: str) -> Remediation:
    """The record. Raises BadInput where there is none."""
    record = ledger.get(ident)
    if record is None:
        raise BadInput(f"there is no remediation {ident!r}", advice="`remediate list` shows all.")
    return record
