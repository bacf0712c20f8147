"""Turns an approval into a grant: it covers only what the reviewer saw, and must still hold when it is carried out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import msgspec

from remediate.decisions.policy import Decision, Outcome
from remediate.errors import BadInput, Forbidden, Refused, RemediateError, Stale, TransientFault
from remediate.iam.member import Member
from remediate.ledger.interface import Ledger
from remediate.reasons import Reason
from remediate.records.approval_count import Approval, key, people, same, shortest, valid
from remediate.records.blocks import blocks_in, cure_of
from remediate.records.digests import content_digest
from remediate.records.lifecycle import based_on, expiry, transition
from remediate.records.remediation import Remediation
from remediate.records.results import Applied, Check, Limits, Verdict
from remediate.records.states import TRANSITIONS, State
from remediate.records.transitions import differs_materially, why_not
from remediate.service.decider import Decider
from remediate.service.executor import ACTOR, Executor
from remediate.service.reviewers import Reviewers, own_deploy
from remediate.service.testimony import Testimony
from remediate.times import parse_time, to_rfc3339

_THERE_ALREADY = (Reason.ALREADY_GRANTED, Reason.STILL_PROPAGATING)


class Approvals:
    """Records approvals by people and rules, and carries them out. Raises as `Remediator.approve` does."""

    def __init__(
        self,
        ledger: Ledger,
        decider: Decider,
        executor: Executor,
        reviewers: Reviewers,
        limits: Limits,
        clock: Callable[[], datetime],
        opt_in_tag: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._decider = decider
        self._executor = executor
        self._reviewers = reviewers
        self._limits = limits
        self._now = clock
        self._opt_in_tag = opt_in_tag

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
        """As `Remediator.approve`; `asked` has the entries read back from the log, and reads missing ones."""

        def step() -> Remediation:
            record = require_record(self._ledger, ident)
            person = self.reviewer(record, word.actor, asked)
            record = self.finish_removal(record)  # a pending removal is finished before a new approval
            if record.lifecycle.ending is not None:
                raise TransientFault(f"{ident} is being revoked", advice="Try again in a minute.")
            if record.state is State.GRANTED:
                return self._granted(record, max_duration)
            if State.APPROVED not in TRANSITIONS[record.state]:
                raise Refused(why_not(record, list(self._ledger.trail(ident)), State.APPROVED))
            if content is not None and content != content_digest(record):
                raise Stale(
                    f"{ident} changed since you saw it: its content is now {content_digest(record)}, not {content}",
                    advice=f"Review it again: remediate show {ident}",
                )
            if record.state is State.APPROVED and record.lifecycle.approver == person.id and max_duration is None:
                return record  # a repeated approval: it is carried out if it still may be
            if self._executor.write_already_applied(record):
                return record  # the approval is recorded and written: only the record of the write is missing
            return self._approved(record, person, word, asked, note)

        before = self._ledger.get(ident)
        record = self._executor.retry_on_conflict(step)
        if record.state is not State.APPROVED:
            return Applied(record, written=False)
        again = (
            before is not None and before.state is State.APPROVED and record.storage.version == before.storage.version
        )
        return self.carry_out(record, asked) if again else self._executor.apply(record)

    def reviewer(self, record: Remediation, actor: str, asked: Testimony) -> Member:
        """The reviewer of this record. Raises Refused if they may not review it, or if the log names them in it."""
        return self._reviewers.of(record, actor, cleared=lambda person: asked.cleared(record, person))

    def check(self, record: Remediation, actor: str | None, asked: Testimony) -> Check:
        """What an approval would find now. Raises TransientFault, and TerminalFault if Google Cloud refuses."""
        verdict, barred = asked.verdict(record, *filter(None, (actor,))), ""
        try:
            if actor is not None:
                _not_theirs(record, self.reviewer(record, actor, asked), verdict)
        except RemediateError as error:
            barred = str(error)
        declare = self._limits.one_may_declare and not verdict.deployer_known
        return Check(
            verdict, self._needed(record, record.terms.approvals_needed, verdict, declared=False), declare, barred
        )

    def _approved(
        self, record: Remediation, person: Member, word: Approval, asked: Testimony, note: str
    ) -> Remediation:
        """Record one more approval, based on the entry from the log: the last one needed, or an earlier one."""
        verdict = asked.verdict(record, person.id)
        _not_theirs(record, person, verdict)
        decision = self._decided(record, person, verdict)
        there = decision.outcome is Outcome.IGNORE
        if verdict.denial is not None:
            record = based_on(record, verdict.denial)
        needed = self._needed(record, decision.approvals, verdict, declared=word.not_mine)
        others = valid(
            record.lifecycle.approvals, content_digest(record), person.id, partial(self._may_still, record, asked)
        )
        own = msgspec.structs.replace(
            word, actor=person.id, at=to_rfc3339(self._now()), of=needed, content=content_digest(record)
        )
        given = (*others, own)
        notes = [note, *verdict.notes]
        if Member(person.id).key in {Member(text).key for text in record.names.deployers}:
            notes.append(f"an entry that named {person.id} as deployer is not in the log, or names somebody else")
        reasons = record.reasons if verdict.verified else (*record.reasons, Reason.EVENT_UNVERIFIED)
        step = partial(transition, record, actor=person.id, now=self._now(), note="; ".join(filter(None, notes)),
            reasons=tuple(dict.fromkeys(reasons)),
        )  # fmt: skip
        if people(given) < needed:
            if record.state is State.PROPOSED and same(given, record.lifecycle.approvals):
                return record  # a repeated approval; another one is still missing
            return self._executor.commit(*step(State.PROPOSED, approvals=given))
        counted = given if needed > 1 or own.not_mine else ()
        if there:
            return self._executor.commit(*step(State.APPROVED, approvals=counted))
        by_rules = min(filter(None, (record.terms.max_duration, decision.expires_after)), default=None)
        until = expiry(by_rules, shortest(given), self._now())
        return self._executor.commit(*step(State.APPROVED, added_by_us=True, expires=until, approvals=counted))

    def _needed(self, record: Remediation, by_rule: int, verdict: Verdict, *, declared: bool) -> int:
        """How many people must approve: as the rule requires, but two if it may be the approver's own deploy."""
        alone = verdict.deployer_known or (declared and self._limits.one_may_declare)
        return max(record.terms.approvals_needed, by_rule, 1 if alone else 2)

    def _may_still(self, record: Remediation, asked: Testimony, actor: str) -> bool:
        """Whether an earlier approver may still approve."""
        try:
            _not_theirs(record, self.reviewer(record, actor, asked), asked.verdict(record, actor))
        except (Refused, BadInput):
            return False
        return True

    def finish_removal(self, record: Remediation) -> Remediation:
        """Carry out a pending removal, if any, or cancel it if it is not due.

        The record by itself proves nothing: a revocation needs a person who may revoke it, an expiry its time.
        """
        ending, life = record.lifecycle.ending, record.lifecycle
        if ending is None:
            return record
        due = life.expires is not None and parse_time(life.expires) <= self._now()
        if ending.state is State.REVOKED:
            due = self._may_revoke(record, ending.actor)
        return self._executor.finish_revocation(record) if due else self._executor.call_off(record)

    def _may_revoke(self, record: Remediation, actor: str) -> bool:
        try:
            self._reviewers.of(record, actor, about_own=True)
        except (Refused, BadInput):
            return False
        return True

    def carry_out(self, record: Remediation, asked: Testimony) -> Applied:
        """Apply an earlier approval, if it still holds with the log, the current evidence and the current rules.

        A write that was done already is always recorded, because the ledger must show every grant that exists.
        Raises as `Remediator.approve` does.
        """
        with suppress(Forbidden):  # what may not be seen is decided again below
            if self._executor.write_already_applied(record):
                return self._executor.apply(record)
        over = record.lifecycle.expires is not None and parse_time(record.lifecycle.expires) <= self._now()
        if over:
            return self._withdrawn(record, State.LAPSED, f"was approved until {record.lifecycle.expires}", None)
        verdict = asked.verdict(record)
        by_rule = record.lifecycle.is_by_rule
        decision = self._decider.decide_again(record, verdict) if by_rule else self._decider.reevaluate(record, verdict)
        if decision.outcome is Outcome.REFUSE:
            return self._withdrawn(record, State.REFUSED, "; ".join(verdict.notes), decision)
        if not blocks_in(decision.reasons) and self._holds(record, decision, verdict, asked):
            return self._executor.apply(record)
        return self._withdrawn(record, State.PROPOSED, "the world has changed since it was approved", decision)

    def _holds(self, record: Remediation, decision: Decision, verdict: Verdict, asked: Testimony) -> bool:
        """Whether the approval still covers the decision.

        A rule's approval: the same rule grants, with all checks of a new denial. A person's: the decision has nothing
        new for them, or a rule grants, and all approvers may still approve. Neither may outlast what the decision
        allows.
        """
        life = record.lifecycle
        if decision.outcome is Outcome.IGNORE:
            return decision.reasons[0] in _THERE_ALREADY
        if not life.added_by_us or not self._ends_in_time(record, decision):  # approved when the member had access
            return False
        if life.is_by_rule:
            return decision.outcome is Outcome.GRANT and decision.rule == record.terms.rule
        if self._is_news(record, decision):
            return False
        words = [each.actor for each in life.approvals] or [life.approver or ""]
        may = partial(self._may_still, record, asked)
        if not all(may(each) and self._reviewers.among(decision.reviewers, each) for each in words):
            return False
        declared = any(each.not_mine for each in life.approvals)
        needed = self._needed(record, decision.approvals, verdict, declared=declared)
        return len({key(each) for each in words}) >= max(needed, *(each.of for each in life.approvals), 1)

    def _is_news(self, record: Remediation, decision: Decision) -> bool:
        """Whether a decision has reasons or terms that no reviewer saw.

        A rule that grants now raises no new question, if people confirmed its text.
        """
        grants = decision.outcome is Outcome.GRANT and self._decider.policy_to_confirm() is None
        return not grants and differs_materially(record, decision)

    def _ends_in_time(self, record: Remediation, decision: Decision) -> bool:
        """Whether the approved grant ends no later than one that is made by this decision now."""
        spans = [each for each in (decision.expires_after, record.terms.max_duration) if each is not None]
        latest = expiry(min(spans, default=None), shortest(record.lifecycle.approvals), self._now())
        expires = record.lifecycle.expires
        return latest is None or (expires is not None and parse_time(expires) <= parse_time(latest))

    def _blocked(self, record: Remediation, block: Reason) -> Refused:
        return Refused(f"{record.id} cannot be approved yet. {block.sentence}", advice=self.cure(record, block))

    def cure(self, record: Remediation, block: Reason) -> str:
        """What an administrator does so that the record can be approved."""
        return cure_of(block, record.grant.repository, self._opt_in_tag)

    def _withdrawn(self, record: Remediation, state: State, note: str, decision: Decision | None) -> Applied:
        def step() -> Remediation:
            current = self._ledger.get(record.id) or record
            if (current.state, current.lifecycle.cycle) != (State.APPROVED, record.lifecycle.cycle):
                return current
            return self._executor.commit(
                *transition(current, state, actor=ACTOR, now=self._now(), note=note, decision=decision)
            )

        return Applied(self._executor.retry_on_conflict(step), written=False)

    def _granted(self, record: Remediation, max_duration: timedelta | None) -> Remediation:
        """The granted record, if its member is still in the binding. Raises Refused if not."""
        if not self._executor.is_still_granted(record):
            self._executor.commit(*transition(record, State.REMOVED, actor=ACTOR, now=self._now()))
            raise Refused(f"{record.id} was granted, but was removed in IAM since; the next denial opens it again")
        if max_duration is not None:
            until = record.lifecycle.expires or "it is revoked"
            raise Refused(f"{record.id} is already granted until {until}; revoke it first")
        return record

    def _decided(self, record: Remediation, person: Member, verdict: Verdict) -> Decision:
        """Decide again. If the decision differs from the proposal, record the new one and raise Refused."""
        decision = self._decider.reevaluate(record, verdict)
        why = "; ".join(reason.sentence for reason in decision.reasons)
        step = partial(transition, record, actor=person.id, now=self._now(), decision=decision)
        if decision.outcome is Outcome.REFUSE:
            self._executor.commit(*step(State.REFUSED, note="; ".join(verdict.notes)))
            raise Refused(f"{record.id} is now refused: {decision.reasons[0].sentence}")
        if decision.outcome is Outcome.IGNORE and decision.reasons[0] in _THERE_ALREADY:
            return decision
        if blocks := blocks_in(decision.reasons):
            if not set(blocks) <= set(record.reasons):
                self._executor.commit(*step(State.PROPOSED))
            raise self._blocked(record, blocks[0])
        allowed = self._reviewers.among(decision.reviewers, person.id)
        # This person may review by the record's rule, but not by the one that decides now: propose it on that rule's
        # terms, so that its reviewers can approve.
        swapped = bool(record.terms.reviewers) and record.terms.reviewers != decision.reviewers
        if self._is_news(record, decision) or (swapped and not allowed):
            self._executor.commit(*step(State.PROPOSED, note="the world has changed since it was proposed"))
            raise Refused(f"{record.id} changed since it was proposed; review it again: {why}")
        if not allowed:
            others = ", ".join(decision.reviewers)
            raise Refused(f"{person.id} may not review {record.id}: rule {decision.rule!r} allows only {others}")
        if decision.outcome is Outcome.IGNORE:
            raise Refused(f"{record.id} is not granted, because a grant would not help: {why}")
        return decision


def _not_theirs(record: Remediation, person: Member, verdict: Verdict) -> None:
    """Raise Refused if the log itself names this person as deployer."""
    if person.key in {each.key for each in verdict.people}:
        raise own_deploy(record, person)


def require_record(ledger: Ledger, ident: str) -> Remediation:
    """The record. Raises BadInput if there is none."""
    record = ledger.get(ident)
    if record is None:
        raise BadInput(f"there is no remediation {ident!r}", advice="`remediate list` shows all.")
    return record
