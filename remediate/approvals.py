"""Turns somebody's word into a grant: it is about what they saw, and still holds when it is carried out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from remediate.decider import Decider
from remediate.errors import BadInput, Refused, Stale
from remediate.execution import ACTOR, Executor
from remediate.following import differs
from remediate.ledger.interface import Ledger
from remediate.policy import Decision, Outcome
from remediate.principal import Member
from remediate.reasons import Reason
from remediate.remediation import RULE, Remediation, State, content_digest, ends, moved
from remediate.results import Applied
from remediate.reviewers import Reviewers

_THERE_ALREADY = (Reason.ALREADY_GRANTED, Reason.STILL_PROPAGATING)


class Approvals:
    """What was approved, by a person or a rule, on its way into a policy. Raises as `Remediator.approve` does."""

    def __init__(
        self,
        ledger: Ledger,
        decider: Decider,
        executor: Executor,
        reviewers: Reviewers,
        clock: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._decider = decider
        self._executor = executor
        self._reviewers = reviewers
        self._now = clock

    def approve(self, ident: str, *, actor: str, note: str, lasts: timedelta | None, content: str | None) -> Applied:
        """As `Remediator.approve`."""

        def step() -> Remediation:
            record = known(self._ledger, ident)
            person = self._reviewers.of(record, actor)
            record = self._executor.end(record)  # what somebody began to take away is not approved half-way
            if record.state is State.GRANTED:
                return self._granted(record, lasts)
            approving = moved(record, State.APPROVED, actor=person.id, now=self._now(), note=note)
            if content is not None and content != content_digest(record):
                raise Stale(
                    f"{ident} is not what you saw any more: its content is {content_digest(record)}, not {content}",
                    advice=f"Look again: python -m remediate show {ident}",
                )
            if record.state is State.APPROVED and record.approver == person.id and lasts is None:
                return record  # the same word again: it is carried out, if it still may be
            if not self._executor.was_written(record) and self._reads_already(record, person):
                return self._executor.commit(*approving)
            until = ends(record.lasts, lasts, self._now())
            ours = moved(record, State.APPROVED, actor=person.id, now=self._now(), note=note, ours=True, expires=until)
            return self._executor.commit(*ours)

        before = self._ledger.get(ident)
        record = self._executor.redone(step)
        if record.state is not State.APPROVED:
            return Applied(record, written=False)
        again = before is not None and before.state is State.APPROVED and record.version == before.version
        return self.carry_out(record) if again else self._executor.apply(record)

    def carry_out(self, record: Remediation) -> Applied:
        """Apply an approval of some time ago, where it still holds on what Google Cloud and the rules say now.

        A write that was done already is recorded first, whatever has changed: what is there must be known to be there.
        """
        if self._executor.was_written(record):
            return self._executor.apply(record)
        over = record.expires is not None and datetime.fromisoformat(record.expires) <= self._now()
        decision = None if over else self._decider.again(record)
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
        return self._reviewers.among(decision.reviewers, approver)

    def _withdrawn(self, record: Remediation, state: State, note: str, decision: Decision | None) -> Applied:
        def step() -> Remediation:
            current = self._ledger.get(record.id) or record
            if (current.state, current.cycle) != (State.APPROVED, record.cycle):
                return current
            return self._executor.commit(
                *moved(current, state, actor=ACTOR, now=self._now(), note=note, decision=decision)
            )

        return Applied(self._executor.redone(step), written=False)

    def _granted(self, record: Remediation, lasts: timedelta | None) -> Remediation:
        """What is granted already, where it still is."""
        if not self._executor.stands(record):
            self._executor.commit(*moved(record, State.REMOVED, actor=ACTOR, now=self._now()))
            raise Refused(f"{record.id} was granted, and somebody took it away since; the next denial raises it again")
        if lasts is not None:
            until = record.expires or "it is revoked"
            raise Refused(f"{record.id} is granted already, until {until}: revoke it first")
        return record

    def _reads_already(self, record: Remediation, person: Member) -> bool:
        """Decide again; where it comes out differently than it was proposed, record that in its place, and refuse."""
        decision = self._decider.again(record)
        why = "; ".join(reason.sentence for reason in decision.reasons)
        if decision.outcome is Outcome.REFUSE:
            self._executor.commit(*moved(record, State.REFUSED, actor=person.id, now=self._now(), decision=decision))
            raise Refused(f"{record.id} is refused now: {decision.reasons[0].sentence}")
        if decision.outcome is Outcome.IGNORE and decision.reasons[0] in _THERE_ALREADY:
            return True
        if record.state in (State.PROPOSED, State.FAILED) and differs(record, decision):
            note = "the world has changed since it was proposed"
            self._executor.commit(
                *moved(record, State.PROPOSED, actor=person.id, now=self._now(), note=note, decision=decision)
            )
            raise Refused(f"{record.id} is proposed anew, because the world has changed: {why}")
        if decision.outcome is Outcome.IGNORE:
            raise Refused(f"{record.id} is not granted, as that would cure nothing: {why}")
        return False


def known(ledger: Ledger, ident: str) -> Remediation:
    """The record. Raises BadInput where there is none."""
    record = ledger.get(ident)
    if record is None:
        raise BadInput(f"there is no remediation {ident!r}", advice="`python -m remediate list` shows all.")
    return record
