"""Turns denials into remediations, and approvals into grants: the entry point of the service.

Google Cloud and the ledger are Protocols here. To read it, follow `handle`: collect, decide, record, apply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

import msgspec

from remediate.cloud.interface import Cloud
from remediate.decisions.organization import HomeNames
from remediate.decisions.policy import BUILT_IN, Decision, Mode, Outcome, Rules, TextToConfirm, decide
from remediate.decisions.variables import Evidence
from remediate.entries.denial import Denial, IncompleteDenial, NotADenial, understand
from remediate.entries.log_entry import read_entry
from remediate.errors import Refused, TerminalFault, Unreadable
from remediate.ledger.interface import Ledger
from remediate.notify.interface import Notifier
from remediate.reasons import Reason
from remediate.records import lifecycle
from remediate.records.approval_count import Approval
from remediate.records.blocks import blocks_in
from remediate.records.digests import content_digest
from remediate.records.events import NO_EVENTS, Events
from remediate.records.modes import Modes
from remediate.records.remediation import Remediation
from remediate.records.results import Applied, Check, Handled, Limits, Proposal, Swept
from remediate.records.states import TRANSITIONS, Ending, State
from remediate.records.transitions import why_not
from remediate.service.approvals import Approvals, require_record
from remediate.service.decider import Decider
from remediate.service.evidence import EvidenceCollector
from remediate.service.executor import Executor
from remediate.service.handing_over import Wake, await_outcome
from remediate.service.history import History
from remediate.service.recorder import Recorded, Recorder
from remediate.service.renewal import Renewal
from remediate.service.reviewers import Reviewers
from remediate.service.sweeper import Sweeper, describe_fault
from remediate.service.switching import Switching
from remediate.service.testimony import Testimony
from remediate.times import to_rfc3339


class Remediator:
    """The remediations of one organization. Raises TransientFault if the same call may succeed later.

    `mode` is REMEDIATE_MODE; None if it is not set, so that the switches alone decide. `wake`: this process changes no
    policy; it records what is due and wakes the writer, which calls `carry_out`.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        cloud: Cloud,
        mode: Mode | None,
        organization: str | None,
        opt_in_tag: str | None = None,
        home_names: HomeNames = HomeNames(),  # noqa: B008  (frozen)
        clock: Callable[[], datetime],
        rules: Callable[[], Rules] = lambda: BUILT_IN,
        policy_confirmed: str | None = None,
        reviewers: Reviewers = Reviewers(),  # noqa: B008  (frozen)
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        events: Events = NO_EVENTS,
        notifier: Notifier | None = None,
        wake: Wake | None = None,
    ) -> None:
        self._ledger = ledger
        self._registry = cloud.registry
        self._logs = cloud.logs
        self._collector = EvidenceCollector(cloud, organization, opt_in_tag, clock, home_names)
        history = History(cloud, clock, own=reviewers.service, lag=limits.propagation)
        self._decider = Decider(ledger, self._collector, history, rules, mode, limits, clock, policy_confirmed)
        self._executor = Executor(ledger, cloud.registry, clock, events, notifier, self._collector.lets_us_write, wake)
        self._approvals = Approvals(ledger, self._decider, self._executor, reviewers, limits, clock, opt_in_tag)
        self._recorder = Recorder(ledger, self._decider, self._executor, limits, clock)
        self._renewal = partial(Renewal, ledger, self._decider, self._executor, history, clock)
        self.switching = Switching(ledger, self._executor, reviewers, clock, events)
        self._now = clock
        self._reviewers = reviewers
        self._limits = limits

    # Denials

    def handle(self, subject: Denial | NotADenial, *, from_log: bool = False) -> Handled:
        """Decide about a log entry, record the decision, and grant if it says so.

        `from_log`: the caller read the entry from Cloud Logging, so it is not read back.
        """
        denial = subject if isinstance(subject, NotADenial) else self._collector.resolve(subject)
        match denial:
            case NotADenial():
                return Handled(decide(denial), denial)
            case IncompleteDenial():
                return Handled(self._decider.decide_without_evidence(denial), denial)
        if self._recorder.has_counted(denial):
            return self._handled_before(denial)
        snapshot = self._decider.snapshot()
        decision = self._decider.decide(denial, snapshot, from_log=from_log)
        prove = partial(self.read_back().proof, denial=denial, from_log=from_log)
        partners = self._recorder.propose_next(denial, decision, snapshot, prove)
        recorded = self._recorder.record(denial, decision, partners, prove)
        if recorded is None:
            counted = self._recorder.has_counted(denial)
            return self._handled_before(denial) if counted else Handled(decision, denial)
        applied = self._applied(recorded, denial)
        return Handled(recorded.decision, denial, applied.remediation, partners, applied.written)

    def _applied(self, recorded: Recorded, denial: Denial) -> Applied:
        """Carry out the approval by this decision, or an earlier approval that still holds."""
        record = recorded.remediation
        if not recorded.approved:
            return self._finished(record, self.read_back())
        may_write = self._decider.may_write(denial, record.lifecycle)
        return self._executor.apply(record) if may_write else Applied(record, written=False)

    def _handled_before(self, denial: Denial) -> Handled:
        """A repeated delivery: counts nothing, but finishes a grant that the first delivery left incomplete."""
        record = self._ledger.get(denial.grant.id)
        decision = Decision(Outcome.IGNORE, None, (Reason.DUPLICATE,))
        if record is None:
            return Handled(decision, denial, duplicate=True)
        applied = self._finished(record, self.read_back())
        return Handled(decision, denial, applied.remediation, (), applied.written, duplicate=True)

    def _finished(self, record: Remediation, asked: Testimony) -> Applied:
        """Carry out an earlier approval, if it may be written for every deploy that waits for it.

        In dry-run an event never writes: only the approval itself does.
        """
        if record.state is not State.APPROVED:
            return Applied(record, written=False)
        last = lifecycle.last_denial(record)
        waiting = [msgspec.structs.replace(last, deploy=each) for each in record.tally.deploys]
        due = all(self._decider.may_write(each, record.lifecycle) for each in waiting or [last])
        return self._approvals.carry_out(record, asked) if due else Applied(record, written=False)

    # Reviews

    def proposal(self, ident: str) -> Proposal:
        """The proposal, with the binding before and after the grant. Raises as `approve` does."""
        record = require_record(self._ledger, ident)
        return Proposal(record, content_digest(record), self._registry.change_by_adding(record.grant))

    def approve(
        self,
        ident: str,
        *,
        actor: str,
        note: str = "",
        max_duration: timedelta | None = None,
        content: str | None = None,
        not_mine: bool = False,
        asked: Testimony | None = None,
    ) -> Applied:
        """Approve a proposal as `actor` (an address), and grant it, permanently or for `max_duration`.

        Reads the entry back from Cloud Logging first. If two approvals are needed, the first one is recorded and the
        record stays `proposed`. `content` is the digest of the proposal that the reviewer saw. `not_mine`: the reviewer
        declares that the deploy was not theirs. `asked`: the `read_back` of a whole batch. Raises BadInput for an
        unknown id or an invalid address; Refused if this actor may not approve it, if the proposal changed since they
        saw it, or if the log or the evidence contradicts it; TransientFault if nothing was changed and a retry may
        succeed.
        """
        seconds = None if max_duration is None else max_duration.total_seconds()
        word = Approval(actor, to_rfc3339(self._now()), content or "", 1, seconds, not_mine)
        return self._approvals.approve(
            ident, word, asked or self.read_back(), note=note, max_duration=max_duration, content=content
        )

    def read_back(self, records_: Iterable[Remediation] = (), *people: str) -> Testimony:
        """What Cloud Logging has about these records; one look-up for a whole batch."""
        asked = Testimony(self._logs, self._collector, self._now)
        asked.ask(records_, *people)
        return asked

    def check(self, ident: str, actor: str | None = None) -> Check:
        """What an approval by this actor would find now, to show it in advance. Raises as `approve` does."""
        return self._approvals.check(require_record(self._ledger, ident), actor, self.read_back())

    def blocks(self, record: Remediation, reasons: Iterable[Reason]) -> list[tuple[Reason, str]]:
        """Those of the reasons for which nobody can approve the record, and what an administrator does about each."""
        return [(each, self._approvals.cure(record, each)) for each in blocks_in(reasons)]

    def evidence(self, ident: str) -> Evidence:
        """All evidence about this remediation that Google Cloud has now. Raises as `approve` does."""
        return self._decider.evidence(require_record(self._ledger, ident))

    def may_review(
        self,
        record: Remediation | None,
        actor: str,
        *,
        about_own: bool = False,
        asked: Testimony | None = None,
    ) -> None:
        """Raise Refused or BadInput if this actor may not review the record, or (record None) may not switch the mode.

        `asked`: what the log says of the record; without it, every named deployer counts as one.
        """
        if record is None:
            self._reviewers.switcher(actor)
        elif asked is not None and not about_own:
            self._approvals.reviewer(record, actor, asked)
        else:
            self._reviewers.of(record, actor, about_own=about_own)

    def reject(self, ident: str, *, actor: str, note: str) -> Remediation:
        """Reject a proposal; further denials are counted and do not open it again. Raises as `approve` does."""
        asked = self.read_back()

        def step() -> Remediation:
            record = require_record(self._ledger, ident)
            person = self._approvals.reviewer(record, actor, asked)
            if record.state is State.REJECTED and self._said_before(record, person.id, note):
                return record
            if State.REJECTED not in TRANSITIONS[record.state]:
                raise Refused(why_not(record, list(self._ledger.trail(ident)), State.REJECTED))
            return self._executor.commit(
                *lifecycle.transition(record, State.REJECTED, actor=person.id, now=self._now(), note=note)
            )

        return self._executor.retry_on_conflict(step)

    def _said_before(self, record: Remediation, actor: str, note: str) -> bool:
        """Whether the last transition is this same request: its answer was lost, and the client repeats it."""
        last = [(step.after, step.actor, step.note) for step in self._ledger.trail(record.id)][-1:]
        return last == [(record.state, actor, note)]

    def revoke(self, ident: str, *, actor: str, note: str) -> Remediation:
        """Revoke a grant: remove the member from the binding. Raises Refused if remediate did not add the member."""
        record = require_record(self._ledger, ident)
        person = self._reviewers.of(record, actor, about_own=True)
        if record.state is not State.GRANTED:
            raise Refused(why_not(record, list(self._ledger.trail(ident)), State.REVOKED))
        if not record.lifecycle.added_by_us:
            raise Refused(f"{ident}: {record.member} had access before remediate; revoke it in IAM")
        done = self._executor.start_revocation(record, Ending(State.REVOKED, person.id, note))
        if done.lifecycle.ending is not None:
            return done  # handed over
        if done.state is not State.REVOKED:
            held = "still granted: Google Cloud refused to change the policy"
            raise Refused(f"{ident} is {held if done.state is State.GRANTED else done.state}")
        return done

    def switch(self, scope: str, mode: Mode | None, *, actor: str, note: str) -> Modes:
        """Set (None: clear) the mode of a scope, or request it if a second person must confirm. Raises as `approve`."""
        return self.switching.switch(scope, mode, actor=actor, note=note)

    def policy_to_confirm(self) -> TextToConfirm | None:
        """The policy text in force, if its rules may not grant until it is confirmed; else None."""
        return self._decider.policy_to_confirm()

    # The writer

    @property
    def hands_over(self) -> bool:
        """Whether another process, the writer, changes the policies."""
        return self._executor.hands_over

    def outcome(self, records: Sequence[Remediation], patience: float = 8) -> list[Remediation]:
        """The records once the writer carried out what is due for them, or as they are after `patience` seconds."""
        return await_outcome(self._ledger, records, patience) if self.hands_over else list(records)

    def carry_out(self, ident: str) -> Applied | None:
        """Carry out what is due for this remediation, if it still holds; None if there is no such remediation.

        Decides again on the log, the evidence, the rules, the reviewers and the limits in force: the state `approved`
        by itself proves nothing. Raises as `approve` does.
        """

        def step() -> Applied | None:
            record = self._ledger.get(ident)
            if record is None:
                return None
            if record.state is State.APPROVED:
                return self._carry_out_approval(record, self.read_back([record]))
            return Applied(self._approvals.finish_removal(record), written=False)

        return self._executor.retry_on_conflict(step)

    def _carry_out_approval(self, record: Remediation, asked: Testimony) -> Applied:
        """Carry out an approval: a rule's if nothing holds the rule back, a person's if it still holds."""
        carry_out = self._finished if record.lifecycle.is_by_rule else self._approvals.carry_out
        return carry_out(record, asked)

    # Time

    def sweep(
        self, advance: Callable[[int, int], None] = lambda *_: None, *, only_due: bool = False
    ) -> Iterator[Swept]:
        """Do what is due: see `Sweeper.sweep`."""
        sweeper = Sweeper(
            self._ledger, self._executor, self._approvals, self._renewal(), self.switching, self._limits, self._now
        )
        return sweeper.sweep(self._carry_out_approval, self._reconsider, self.read_back, advance, only_due=only_due)

    def _reconsider(self, record: Remediation, asked: Testimony) -> Remediation:
        """Decide again about a blocked proposal, once nothing blocks it, and grant if a rule says so."""
        if self._collector.is_blocked(record.grant.repository):
            return record
        decision = self._decider.decide_again(record, asked.verdict(record))
        recorded = self._recorder.decide_again(record.id, decision)
        return self._executor.apply(recorded.remediation).remediation if recorded.approved else recorded.remediation

    def pick_up(self, entries: Iterable[bytes]) -> Iterator[Swept]:
        """Handle log entries that may not have been delivered; yields the remediations of those that were not."""
        for raw in entries:
            try:
                handled = self.handle(understand(read_entry(raw)), from_log=True)
            except Unreadable:
                continue
            except Exception as fault:  # one faulty entry must not stop the others
                yield Swept(None, None, describe_fault(fault), is_refused=isinstance(fault, TerminalFault))
                continue
            if handled.remediation and not handled.duplicate:
                yield Swept(handled.remediation, None)
