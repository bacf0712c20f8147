"""Carries out decisions: ledger commits with a retry on conflicts, and the two changes of a policy.

The order makes sure that one decision is written once, even after a crash: record the intent, change the policy, record
the result. Each step is idempotent. Between the read and the write of a policy, the executor reads the record again, so
that a slow instance does not write a decision that is no longer valid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TypeVar

from remediate.cloud.interface import Registry
from remediate.decisions.policy import Decision
from remediate.errors import Conflict, Forbidden, Missing, TerminalFault, TransientFault
from remediate.iam.repository import Repository
from remediate.ledger.checked import require_whole
from remediate.ledger.interface import Ledger
from remediate.notify.interface import Notifier
from remediate.reasons import BRAKES, Reason
from remediate.records import lifecycle
from remediate.records.events import Events
from remediate.records.outbox import OutboxMessage
from remediate.records.remediation import Remediation, TrailRecord
from remediate.records.results import Applied
from remediate.records.states import Ending, State
from remediate.service.handing_over import Wake
from remediate.times import PROPAGATION, parse_time

ACTOR = "remediate"
"""The actor of transitions that neither a person nor a rule makes."""

_T = TypeVar("_T")
_CONFLICTS = 50  # attempts of a ledger commit while other processes change the record


class Executor:
    """Commits to the ledger by compare-and-set; changes a policy through the `Registry`, or wakes the writer.

    `lets_us_write`: whether the owner of a registry opted in; None if nobody has to. `wake`: this process changes no
    policy; it records what is due and wakes the writer.
    """

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        clock: Callable[[], datetime],
        events: Events,
        notifier: Notifier | None,
        lets_us_write: Callable[[Repository], bool | None] = lambda _: None,
        wake: Wake | None = None,
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._now = clock
        self._events = events
        self._notifier = notifier
        self._lets_us_write = lets_us_write
        self._wake = wake

    @property
    def hands_over(self) -> bool:
        """Whether another process changes the policies."""
        return self._wake is not None

    def commit(
        self,
        record: Remediation,
        *trail: TrailRecord,
        denial_key: str | None = None,
        decision: Decision | None = None,
    ) -> Remediation:
        """Store one atomic step with its notices, then report its transitions to `events`.

        Raises Conflict if another process changed the record first, LedgerFault if the trail of the record is broken.
        """
        if trail and record.storage.version:
            require_whole(self._ledger, record.id)
        return self._store(record, *trail, denial_key=denial_key, decision=decision)

    def _store(
        self,
        record: Remediation,
        *trail: TrailRecord,
        denial_key: str | None = None,
        decision: Decision | None = None,
    ) -> Remediation:
        parcels: Sequence[OutboxMessage] = ()
        if self._notifier is not None:
            brake = next((each for each in BRAKES if decision and each in decision.reasons), None)
            parcels = self._notifier.parcels(record, trail, brake=brake, look_up=self._ledger.get)
        record = self._ledger.commit(record, trail=trail, denial_key=denial_key, parcels=parcels)
        for step in trail:
            self._events.on_transition(step)
        if self._notifier is not None and parcels:
            self._notifier.flush()
        return record

    def remind(self, record: Remediation) -> None:
        """Store the notice of a proposal that expires soon. Raises Conflict if another process stores it first."""
        parcels = self._notifier.reminders(record) if self._notifier is not None else ()
        if parcels:
            self._ledger.enqueue(parcels)

    def retry_on_conflict(self, step: Callable[[], _T]) -> _T:
        """The result of the step, repeated on fresh records while other processes change them first."""
        for _ in range(_CONFLICTS):
            try:
                return step()
            except Conflict:
                continue
        raise TransientFault("other processes kept changing the record; try again")

    def is_still_granted(self, record: Remediation) -> bool:
        """Whether the granted member is still in the binding, read again: the decision may be older than the grant.

        Raises TerminalFault if the service may not read the policy: then it is unknown.
        """
        return record.state is State.GRANTED and self._is_there(record)

    def write_already_applied(self, record: Remediation) -> bool:
        """Whether the write of an approval was done and only its record is missing. Raises as `is_still_granted`."""
        return record.state is State.APPROVED and record.lifecycle.added_by_us and self._is_there(record)

    def _is_there(self, record: Remediation) -> bool:
        with suppress(Missing):  # the repository no longer exists
            return self._registry.has_reader(record.grant)
        return False

    def apply(self, record: Remediation) -> Applied:
        """Add the approved member to the one binding, then record that; or wake the writer. Idempotent at every point.

        Raises LedgerFault, and writes nothing, if the trail of the record does not prove the approval.
        """
        require_whole(self._ledger, record.id)
        if self._wake is not None:
            self._wake(record.id)
            return Applied(record, written=False)
        try:
            precondition = partial(self._is_still, record, _may_be_written)
            change = self._registry.add_reader(record.grant, request_reason=record.id, precondition=precondition)
        except TerminalFault as fault:
            return Applied(self._write_failed(record, fault), written=False)
        note = (
            f"policy etag {change.etag}"
            if change.written
            else "found in the binding: put there by an earlier attempt, or by somebody else"
        )
        final = self._record_outcome(record, State.APPROVED, State.GRANTED, note=note)
        if change.written and not _wanted(final):
            # It was refused or expired between the last read and the write: that is final, so undo the write.
            self._registry.remove_reader(
                record.grant, request_reason=record.id, precondition=lambda: not _wanted(self._ledger.get(record.id))
            )
            return Applied(final, written=False)
        return Applied(final, change.written)

    def _write_failed(self, record: Remediation, fault: TerminalFault) -> Remediation:
        """Record that Google Cloud rejected the write: the approval failed, or waits for the registry's opt-in.

        Raises TransientFault soon after an approval, while IAM may not know the opt-in tag yet.
        """
        opted_in = self._lets_us_write(record.grant.repository) if isinstance(fault, Forbidden) else None
        if opted_in is False:
            why = tuple(dict.fromkeys((*record.reasons, Reason.NOT_OPTED_IN)))
            return self._record_outcome(record, State.APPROVED, State.PROPOSED, note=str(fault), reasons=why)
        if opted_in and self._now() - parse_time(record.lifecycle.updated) < PROPAGATION:
            raise TransientFault(f"IAM does not let remediate in by the opt-in tag yet: {fault}", advice=_LATER)
        why = (*record.reasons, Reason.TERMINAL_ANSWER)
        return self._record_outcome(record, State.APPROVED, State.FAILED, note=str(fault), reasons=why)

    def start_revocation(self, record: Remediation, ending: Ending) -> Remediation:
        """Record the pending removal, remove the member from the binding, and record the result.

        If another instance recorded a pending removal first, that one is carried out. Raises TerminalFault if Google
        Cloud refuses permanently; the grant then continues. Raises LedgerFault as `apply` does.
        """
        require_whole(self._ledger, record.id)

        def announce() -> Remediation:
            current = self._ledger.get(record.id) or record
            if not current.lifecycle.added_by_us or current.state is not State.GRANTED or current.lifecycle.ending:
                return current
            if ending.state is State.EXPIRED and current.lifecycle.expires != record.lifecycle.expires:
                return current  # it was renewed since it was read
            return self.commit(lifecycle.with_pending_removal(current, ending))

        return self._end(self.retry_on_conflict(announce))

    def finish_revocation(self, record: Remediation) -> Remediation:
        """Carry out a pending removal, if any. Idempotent at every point. Raises LedgerFault as `apply` does."""
        if record.lifecycle.ending is not None:
            require_whole(self._ledger, record.id)
        return self._end(record)

    def _end(self, record: Remediation) -> Remediation:
        if record.lifecycle.ending is None:
            return record
        if self._wake is not None:
            self._wake(record.id)
            return record
        precondition = partial(
            self._is_still, record, lambda now: now.state is State.GRANTED and now.lifecycle.ending is not None
        )
        try:
            with suppress(Missing):  # the repository no longer exists, so the access is gone too
                self._registry.remove_reader(record.grant, request_reason=record.id, precondition=precondition)
        except TerminalFault:
            self.call_off(record)
            raise
        ending = record.lifecycle.ending
        return self._record_outcome(record, State.GRANTED, ending.state, actor=ending.actor, note=ending.note)

    def call_off(self, record: Remediation) -> Remediation:
        """Cancel the pending removal, if any: the grant continues."""

        def step() -> Remediation:
            current = self._ledger.get(record.id) or record
            return self.commit(lifecycle.with_pending_removal(current, None)) if current.lifecycle.ending else current

        return self.retry_on_conflict(step)

    def _is_still(self, record: Remediation, due: Callable[[Remediation], bool]) -> bool:
        """Whether a change of the policy is still due in the same cycle, directly before the write."""
        current = self._ledger.get(record.id)
        return current is not None and current.lifecycle.cycle == record.lifecycle.cycle and due(current)

    def _record_outcome(
        self,
        record: Remediation,
        before: State,
        state: State,
        *,
        actor: str = ACTOR,
        note: str,
        reasons: tuple[Reason, ...] | None = None,
    ) -> Remediation:
        """Record the result of a policy change, unless another instance did so already."""

        def step() -> Remediation:
            current = self._ledger.get(record.id) or record
            called_off = record.lifecycle.ending is not None and current.lifecycle.ending is None
            if (current.state, current.lifecycle.cycle) != (before, record.lifecycle.cycle) or called_off:
                return current
            moved = lifecycle.transition(current, state, actor=actor, now=self._now(), reasons=reasons, note=note)
            return self._store(*moved)  # the trail was checked before the write

        return self.retry_on_conflict(step)


_LATER = "The approval is recorded; the next sweep carries it out, or approve again in a few minutes."


def _may_be_written(record: Remediation) -> bool:
    """Whether an approval is still there and lets remediate add the member, who had no access when it was approved."""
    return record.state is State.APPROVED and record.lifecycle.added_by_us


def _wanted(record: Remediation | None) -> bool:
    return record is not None and record.state in (State.APPROVED, State.GRANTED)
