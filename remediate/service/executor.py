"""Carries out what was decided: ledger steps that are redone on a conflict, and the two changes of a policy.

The order makes one decision one write, whatever crashes: first record that it is to be done, then change the policy,
then record that it was. Each can be done again without doing it twice. And between the read and the write of a policy
the record is looked at once more: an instance that was overtaken meanwhile does not write what is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TypeVar

from remediate.cloud.interface import Registry
from remediate.decisions.policy import Decision
from remediate.errors import Conflict, Missing, TerminalFault, TransientFault
from remediate.ledger.checked import require_whole
from remediate.ledger.interface import Ledger
from remediate.notify.interface import Notifier
from remediate.reasons import BRAKES, Reason
from remediate.records import remediation as records
from remediate.records.events import Events
from remediate.records.outbox import OutboxMessage
from remediate.records.remediation import Ending, Remediation, State
from remediate.records.results import Applied

ACTOR = "remediate"
"""Who acts where no person and no rule does."""

_T = TypeVar("_T")
_CONFLICTS = 50  # times that a ledger step is redone because somebody else was faster


class Executor:
    """The only one who writes: to the ledger by compare-and-set, to a policy through the `Registry`."""

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        clock: Callable[[], datetime],
        events: Events,
        notifier: Notifier | None,
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._now = clock
        self._events = events
        self._notifier = notifier

    def commit(
        self,
        record: Remediation,
        *trail: records.TrailRecord,
        denial_key: str | None = None,
        decision: Decision | None = None,
    ) -> Remediation:
        """Store one atomic step with the notices of it, then tell of its transitions.

        Raises Conflict where somebody else was faster, LedgerFault where a transition would follow a broken trail.
        """
        if trail and record.version > 1:
            require_whole(self._ledger, record.id)
        return self._store(record, *trail, denial_key=denial_key, decision=decision)

    def _store(
        self,
        record: Remediation,
        *trail: records.TrailRecord,
        denial_key: str | None = None,
        decision: Decision | None = None,
    ) -> Remediation:
        parcels: Sequence[OutboxMessage] = ()
        if self._notifier is not None:
            brake = next((each for each in BRAKES if decision and each in decision.reasons), None)
            parcels = self._notifier.parcels(record, trail, brake=brake, known=self._ledger.get)
        self._ledger.commit(record, trail=trail, denial_key=denial_key, parcels=parcels)
        for step in trail:
            self._events.on_transition(step)
        if self._notifier is not None and parcels:
            self._notifier.flush()
        return record

    def remind(self, record: Remediation) -> None:
        """Store the notice of a proposal that lapses soon. Raises Conflict where somebody else was faster."""
        parcels = self._notifier.reminders(record) if self._notifier is not None else ()
        if parcels:
            self._ledger.enqueue(parcels)

    def retry_on_conflict(self, step: Callable[[], _T]) -> _T:
        """The step's result, redone on fresh records as long as somebody else is faster."""
        for _ in range(_CONFLICTS):
            try:
                return step()
            except Conflict:
                continue
        raise TransientFault("the ledger's record kept changing; the event comes again")

    def is_still_granted(self, record: Remediation) -> bool:
        """Whether what was granted is still there, read again: the decision may be older than the grant.

        Raises TerminalFault where that may not be read: then nothing is known, and nothing is to be concluded.
        """
        return record.state is State.GRANTED and self._is_there(record)

    def write_already_applied(self, record: Remediation) -> bool:
        """Whether an approval's write was done, and only the record of it is missing. Raises as `stands` does."""
        return record.state is State.APPROVED and record.added_by_us and self._is_there(record)

    def _is_there(self, record: Remediation) -> bool:
        with suppress(Missing):  # the repository itself is gone
            return self._registry.has_reader(record.grant)
        return False

    def apply(self, record: Remediation) -> Applied:
        """Write the approved member into the one binding, then record that. Safe to do again at any point.

        Raises LedgerFault, and writes nothing, where the record's trail does not prove that it was approved.
        """
        require_whole(self._ledger, record.id)
        try:
            precondition = partial(self._is_still, record, lambda now: now.state is State.APPROVED)
            change = self._registry.add_reader(record.grant, request_reason=record.id, precondition=precondition)
        except TerminalFault as fault:
            why = (*record.reasons, Reason.TERMINAL_ANSWER)
            return Applied(
                self._record_outcome(record, State.APPROVED, State.FAILED, note=str(fault), reasons=why), False
            )
        note = (
            f"policy etag {change.etag}"
            if change.written
            else "found in the binding: put there by an earlier attempt, or by somebody else"
        )
        final = self._record_outcome(record, State.APPROVED, State.GRANTED, note=note)
        if change.written and not _wanted(final):
            # Between the last look and the write it was refused, or lapsed: that stands, and nothing is left behind.
            self._registry.remove_reader(
                record.grant, request_reason=record.id, precondition=lambda: not _wanted(self._ledger.get(record.id))
            )
            return Applied(final, written=False)
        return Applied(final, change.written)

    def start_revocation(self, record: Remediation, ending: Ending) -> Remediation:
        """Announce that the granted member is taken out of the binding, do it, and record that it was done.

        Where another instance announced an end first, that one is carried out. Raises TerminalFault where Google Cloud
        refuses for good; then the grant stands, as before. LedgerFault as `apply` does.
        """
        require_whole(self._ledger, record.id)

        def announce() -> Remediation:
            current = self._ledger.get(record.id) or record
            if not current.added_by_us or current.state is not State.GRANTED or current.ending:
                return current
            if ending.state is State.EXPIRED and current.expires != record.expires:
                return current  # its end was put off since it was looked at
            return self.commit(records.with_pending_removal(current, ending))

        return self._end(self.retry_on_conflict(announce))

    def finish_revocation(self, record: Remediation) -> Remediation:
        """Carry out the end that was announced, if any. Safe to do again at any point. LedgerFault as `apply` does."""
        if record.ending is not None:
            require_whole(self._ledger, record.id)
        return self._end(record)

    def _end(self, record: Remediation) -> Remediation:
        if record.ending is None:
            return record
        precondition = partial(
            self._is_still, record, lambda now: now.state is State.GRANTED and now.ending is not None
        )
        try:
            with suppress(Missing):  # the repository is gone, and the member with it
                self._registry.remove_reader(record.grant, request_reason=record.id, precondition=precondition)
        except TerminalFault:
            self.retry_on_conflict(partial(self._call_off, record))
            raise
        ending = record.ending
        return self._record_outcome(record, State.GRANTED, ending.state, actor=ending.actor, note=ending.note)

    def _call_off(self, record: Remediation) -> None:
        current = self._ledger.get(record.id)
        if current and current.ending:
            self.commit(records.with_pending_removal(current, None))

    def _is_still(self, record: Remediation, due: Callable[[Remediation], bool]) -> bool:
        """Whether a change of the policy is still due, in the same cycle, when it is about to be written."""
        current = self._ledger.get(record.id)
        return current is not None and current.cycle == record.cycle and due(current)

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
        """Move a record on from the state in which the policy was changed, unless another instance did so already."""

        def step() -> Remediation:
            current = self._ledger.get(record.id) or record
            called_off = record.ending is not None and current.ending is None
            if (current.state, current.cycle) != (before, record.cycle) or called_off:
                return current
            moved = records.transition(current, state, actor=actor, now=self._now(), reasons=reasons, note=note)
            return self._store(*moved)  # what was written is recorded; the trail was checked before the write

        return self.retry_on_conflict(step)


def _wanted(record: Remediation | None) -> bool:
    return record is not None and record.state in (State.APPROVED, State.GRANTED)
