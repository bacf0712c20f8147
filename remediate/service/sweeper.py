"""Does what is due: carries out approvals, ends expired grants, expires proposals, records grants removed elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial

from remediate.errors import Forbidden, RemediateError, TerminalFault
from remediate.ledger.interface import Filter, Ledger
from remediate.records.blocks import blocks_in
from remediate.records.lifecycle import transition
from remediate.records.notice import reminder_lead
from remediate.records.remediation import Remediation
from remediate.records.results import Applied, Limits, Swept
from remediate.records.states import Ending, State
from remediate.service.approvals import Approvals, require_record
from remediate.service.executor import ACTOR, Executor
from remediate.service.renewal import Renewal
from remediate.service.switching import Switching
from remediate.service.testimony import Testimony
from remediate.times import parse_time, to_rfc3339

_CarryOut = Callable[[Remediation, Testimony], Applied]
"""Carries out an earlier approval, if it still holds."""
_DecideAgain = Callable[[Remediation, Testimony], Remediation]
"""Decides again about a blocked proposal."""
_ReadBack = Callable[[Iterable[Remediation]], Testimony]

_OPEN = (State.PROPOSED, State.APPROVED, State.GRANTED)
_TOGETHER = 100  # approvals whose entries one look-up reads back; later ones are read back one by one


class Sweeper:
    """One sweep of the ledger. Idempotent, and safe while functions run."""

    def __init__(
        self,
        ledger: Ledger,
        executor: Executor,
        approvals: Approvals,
        renewal: Renewal,
        switching: Switching,
        limits: Limits,
        clock: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._executor = executor
        self._approvals = approvals
        self._renewal = renewal
        self._switching = switching
        self._limits = limits
        self._now = clock

    def sweep(
        self,
        carry_out: _CarryOut,
        decide_again: _DecideAgain,
        read_back: _ReadBack,
        advance: Callable[[int, int], None],
        *,
        only_due: bool,
    ) -> Iterator[Swept]:
        """Yields each remediation that it changed or failed to change.

        Calls `advance` with the number of remediations done and the total. `only_due` leaves out what takes a
        look at every remediation: grants that were removed elsewhere or may be renewed, and blocked proposals.
        """
        idents = self._due() if only_due else list(self._ledger.ids(_OPEN))
        asked, again = self._read_back_together(read_back), None if only_due else decide_again
        for number, ident in enumerate(idents):
            advance(number, len(idents))
            record = None
            try:
                record = require_record(self._ledger, ident)
                done = self._executor.retry_on_conflict(partial(self._swept, ident, carry_out, again, asked))
                if not only_due:
                    self._renewal.offer(done)
            except Exception as fault:  # one faulty remediation must not stop the others
                yield Swept(
                    record,
                    record.state if record else None,
                    describe_fault(fault),
                    ident,
                    isinstance(fault, TerminalFault),
                )
                continue
            if done.state is not record.state:
                yield Swept(done, record.state)
        yield from self._renewal.carry_out()
        yield from self._switching.let_lapse()

    def _due(self) -> list[str]:
        """The ids that the ledger's indexes name; a proposal is due from its reminder on."""
        now = self._now()
        waits = self._limits.lapse_after - reminder_lead(self._limits.lapse_after)
        return list(dict.fromkeys(self._ledger.due(to_rfc3339(now), to_rfc3339(now - waits))))

    def _read_back_together(self, read_back: _ReadBack) -> Testimony:
        """One look-up for all waiting approvals. If it fails, each asks for itself, and reports its own fault."""
        try:
            return read_back(self._ledger.page(Filter((State.APPROVED,)), limit=_TOGETHER).records)
        except Exception:
            return read_back(())

    def _swept(
        self, ident: str, carry_out: _CarryOut, decide_again: _DecideAgain | None, asked: Testimony
    ) -> Remediation:
        """Do what is due for one remediation. Without `decide_again`, nothing is asked about what may stay as it is."""
        record = require_record(self._ledger, ident)
        now, life = self._now(), record.lifecycle
        waits = record.state in (State.PROPOSED, State.APPROVED)
        is_late = now - parse_time(life.updated) >= self._limits.lapse_after
        if waits and is_late and not self._was_written(record):
            return self._moved(record, State.LAPSED)
        if record.state is State.PROPOSED:
            self._executor.remind(record)
            if decide_again is not None and blocks_in(record.reasons):
                return decide_again(record, asked)
        if record.state is State.APPROVED:
            return carry_out(record, asked).remediation
        if record.state is State.GRANTED:
            if life.ending:
                return self._approvals.finish_removal(record)
            if life.added_by_us and life.expires and parse_time(life.expires) <= now:
                note = f"was granted until {life.expires}"
                return self._executor.start_revocation(record, Ending(State.EXPIRED, ACTOR, note))
            if decide_again is not None and not self._executor.is_still_granted(record):
                return self._moved(record, State.REMOVED)
        return record

    def _was_written(self, record: Remediation) -> bool:
        """Whether the write was done and only its record is missing; False if the repository may not be seen."""
        with suppress(Forbidden):
            return self._executor.write_already_applied(record)
        return False

    def _moved(self, record: Remediation, state: State) -> Remediation:
        return self._executor.commit(*transition(record, state, actor=ACTOR, now=self._now()))


def describe_fault(fault: Exception) -> str:
    """The text for a fault. An unexpected error appears by type and place only: its text may quote a log entry."""
    if isinstance(fault, RemediateError):
        return str(fault)
    from remediate.log_lines import where

    return f"unexpected {where(fault)}; this is a bug in remediate"
