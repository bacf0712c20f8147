"""Records denials: counts each once, makes the transitions of its decision, and proposes predicted denials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import msgspec

from remediate.decisions.policy import Decision, Outcome
from remediate.decisions.prediction import predict_denials
from remediate.entries.denial import Denial
from remediate.errors import Conflict, TerminalFault
from remediate.ledger.interface import Ledger
from remediate.reasons import BLOCKS
from remediate.records import lifecycle
from remediate.records.blocks import blocks_in
from remediate.records.digests import material_reasons
from remediate.records.gathering import placed
from remediate.records.remediation import Remediation, TrailRecord
from remediate.records.results import Limits
from remediate.records.states import State
from remediate.records.transitions import next_transitions
from remediate.records.witnesses import Proof
from remediate.service.approvals import require_record
from remediate.service.decider import Decider
from remediate.service.evidence import PolicySnapshot
from remediate.service.executor import ACTOR, Executor
from remediate.times import parse_time

Proving = Callable[[Remediation | None], Proof]
"""Returns what the log says of a denial's entry, for a record that is about to store the names in it."""


class Recorded(msgspec.Struct, frozen=True):
    """The record of a denial, the decision as recorded, and whether it approved the grant."""

    remediation: Remediation
    decision: Decision
    approved: bool


class Recorder:
    """Writes denials and decisions into the ledger; each step is one commit."""

    def __init__(
        self, ledger: Ledger, decider: Decider, executor: Executor, limits: Limits, clock: Callable[[], datetime]
    ) -> None:
        self._ledger = ledger
        self._decider = decider
        self._executor = executor
        self._limits = limits
        self._now = clock

    def has_counted(self, denial: Denial) -> bool:
        """Whether an earlier delivery of the denial was counted."""
        return denial.entry.key is not None and self._ledger.is_counted(denial.entry.key, denial.grant.id)

    def record(self, denial: Denial, decision: Decision, partners: tuple[str, ...], prove: Proving) -> Recorded | None:
        """Count the denial and make the transitions of the decision in one commit, repeated after a conflict.

        None if there is nothing to record: the denial is ignored, or another delivery was counted first.
        """
        return self._executor.retry_on_conflict(lambda: self._recorded(denial, decision, partners, prove))

    def _recorded(
        self, denial: Denial, decision: Decision, partners: tuple[str, ...], prove: Proving
    ) -> Recorded | None:
        now, record = self._now(), self._ledger.get(denial.grant.id)
        if self.has_counted(denial):  # checked again on purpose: two simultaneous deliveries count one denial
            return None
        # Also on purpose: the decision must not undo a revocation that came after it.
        decision, proof = self._decider.recheck(decision, record), prove(record)
        trail: list[TrailRecord] = []
        if record is not None:
            record = lifecycle.with_denial(record, denial, now, proof)
        elif decision.outcome is Outcome.IGNORE:
            return None
        else:
            first = State.REFUSED if decision.outcome is Outcome.REFUSE else State.PROPOSED
            record, step = lifecycle.open_remediation(
                denial, decision, first, actor=ACTOR, now=now, note=decision.note, proof=proof
            )
            trail.append(step)
        for partner in partners:
            record = lifecycle.with_partner(record, partner)
        record, more = self._transitions(record, decision, now)
        trail += more
        record = self._grouped(record, trail, denial)
        record = self._executor.commit(record, *trail, denial_key=denial.entry.key, decision=decision)
        return Recorded(record, decision, approved=any(step.after is State.APPROVED for step in trail))

    def decide_again(self, ident: str, decision: Decision) -> Recorded:
        """Make the transitions of a new decision about a blocked proposal. No denial is counted."""

        def decided() -> Recorded:
            record = require_record(self._ledger, ident)
            if record.state is not State.PROPOSED or not blocks_in(record.reasons):
                return Recorded(record, decision, approved=False)
            record, trail = self._transitions(record, decision, self._now())
            if decision.outcome is Outcome.IGNORE:  # the member has access by now: its reviewer reads why
                record, step = lifecycle.transition(
                    record, State.PROPOSED, actor=ACTOR, now=self._now(), reasons=decision.reasons
                )
                trail = [step]
            if trail:
                record = self._executor.commit(record, *trail, decision=decision)
            return Recorded(record, decision, approved=record.state is State.APPROVED)

        return self._executor.retry_on_conflict(decided)

    def _transitions(
        self, record: Remediation, decision: Decision, now: datetime
    ) -> tuple[Remediation, list[TrailRecord]]:
        """The record after the transitions of the decision, and their trail records."""
        held = now - parse_time(record.lifecycle.updated) < self._limits.hold_rejections
        trail: list[TrailRecord] = []
        if self._is_left_alone(record):
            return record, trail
        for state, actor, why in next_transitions(record, decision, actor=ACTOR, held=held):
            # The end of a grant has no decision. A changed proposal keeps the reasons that it showed before.
            made_by = None if record.state is State.GRANTED else decision
            again = state is record.state is State.PROPOSED
            kept = (each for each in material_reasons(record.reasons) if each not in BLOCKS)
            shown = (*decision.reasons, *kept) if again else ()
            approves = state is State.APPROVED  # only a rule approves here, and only a member without access
            record, step = lifecycle.transition(
                record,
                state,
                actor=actor,
                now=now,
                reasons=tuple(dict.fromkeys(shown)),
                note=why or decision.note,
                decision=made_by,
                added_by_us=approves,
                expires=lifecycle.expiry(decision.expires_after, None, now) if approves else None,
            )
            trail.append(step)
        return record, trail

    def _is_left_alone(self, record: Remediation) -> bool:
        """Whether a grant still exists; True also if the service may not read the policy."""
        try:
            return self._executor.is_still_granted(record)
        except TerminalFault:
            return True

    def _grouped(self, record: Remediation, steps: Sequence[TrailRecord], denial: Denial) -> Remediation:
        """The record, with a group if its project has opened too many proposals or refusals this hour."""
        limit = self._limits.proposals_an_hour
        return placed(record, steps, denial, now=self._now(), limit=limit, acquire_slot=self._ledger.acquire_slot)

    # Predicted denials

    def propose_next(
        self, denial: Denial, decision: Decision, snapshot: PolicySnapshot, prove: Proving
    ) -> tuple[str, ...]:
        """Propose the grants for the predicted denials of the same deploy; returns their ids."""
        if decision.outcome not in (Outcome.ASK, Outcome.GRANT):
            return ()
        found = (self._propose(each, denial, snapshot, prove) for each in predict_denials(denial))
        return tuple(ident for ident in found if ident)

    def _propose(self, follow_up: Denial, denial: Denial, snapshot: PolicySnapshot, prove: Proving) -> str | None:
        ident, partner = follow_up.grant.id, denial.grant.id
        join = partial(self._join, ident, denial, prove)
        if self._ledger.get(ident):
            self._executor.retry_on_conflict(join)
            return ident
        surely = follow_up.repository != denial.repository
        decision = self._decider.decide_predicted(follow_up, snapshot, surely=surely)
        if decision is None:
            return None
        record, step = lifecycle.open_predicted(follow_up, decision, actor=ACTOR, now=self._now(), proof=prove(None))
        record = self._grouped(record, (step,), denial)
        try:
            self._executor.commit(lifecycle.with_partner(record, partner), step)
        except Conflict:  # another instance proposed it; the deployer of this denial may not approve it either
            self._executor.retry_on_conflict(join)
        return ident

    def _join(self, ident: str, denial: Denial, prove: Proving) -> None:
        """Record on a proposal that this deploy waits for it too."""
        record = require_record(self._ledger, ident)
        seen = lifecycle.with_foreseen(record, denial, denial.grant.id, prove(record))
        if seen != record:
            self._executor.commit(seen)
