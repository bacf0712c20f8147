"""Turns a denial into the decision of this moment: evidence, rules, the mode in force, and the last checks of a grant.

The checks that cost a look-up of the log, or a place under the brake, are made only where a rule would really grant.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

from remediate import remediation as records
from remediate.denial import Denial
from remediate.errors import TerminalFault
from remediate.evidence import Investigator, Sight
from remediate.ledger.interface import Ledger
from remediate.modes import effective
from remediate.policy import INVARIANTS, BuiltIn, Decision, Evidence, Mode, Outcome, Rules, asked, decide, in_mode
from remediate.reasons import Reason
from remediate.remediation import Remediation, State
from remediate.results import Limits


class _EverythingMatters(BuiltIn):
    """Rules that look at everything, so that all of it is learnt."""

    def mentions(self, variable: str) -> bool:
        del variable
        return True


class Decider:
    """Decides about denials. Raises TransientFault where the same denial may be decided later."""

    def __init__(
        self,
        ledger: Ledger,
        investigator: Investigator,
        rules: Callable[[], Rules],
        mode: Mode | None,
        limits: Limits,
        clock: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._investigator = investigator
        self._rules = rules
        self._mode = mode
        self._limits = limits
        self._now = clock

    def look(self) -> Sight:
        """A fresh sight, for the decisions about one denial."""
        return self._investigator.look()

    def decide(self, denial: Denial, ident: str, sight: Sight, *, from_log: bool) -> tuple[Decision, str]:
        """The decision on what Google Cloud says now; a final "no" is a refusal with Google's words as a note."""
        rules, record = self._rules(), self._ledger.get(ident)
        try:
            evidence = self._evidence(denial, record, rules, sight)
        except TerminalFault as fault:
            return Decision(Outcome.REFUSE, INVARIANTS, (Reason.TERMINAL_ANSWER,)), str(fault)
        decision = decide(denial, evidence, rules)
        if decision.outcome is not Outcome.GRANT:
            return decision, ""
        if self.mode_at(denial) is Mode.DRY_RUN:
            return in_mode(decision, Mode.DRY_RUN), ""
        if record and self._was_taken_away(record):
            return asked(decision, Reason.TAKEN_AWAY), ""
        verified = from_log or self._investigator.verified(denial)
        decision = decide(denial, msgspec.structs.replace(evidence, verified=verified), rules)
        if decision.outcome is Outcome.GRANT and (brake := self._brake(denial, ident)):
            return asked(decision, brake), ""
        return decision, ""

    def on_record(self, decision: Decision, record: Remediation | None) -> Decision:
        """The decision on the record of the moment in which it is recorded: a revocation may have come in between."""
        if decision.outcome is Outcome.GRANT and record is not None and self._was_taken_away(record):
            return asked(decision, Reason.TAKEN_AWAY)
        return decision

    def at_a_glance(self, denial: Denial) -> Decision:
        """The decision about a denial that names no member or no repository: nothing can be asked about it."""
        return decide(denial, rules=self._rules())

    def foreseen(self, ahead: Denial, sight: Sight, *, surely: bool) -> Decision:
        """The decision about a denial that has not come yet: never a grant.

        `surely`: ignored unless it is certain that it comes. What cannot be learnt now is left until it is denied.
        """
        rules = self._rules()
        try:
            evidence = self._evidence(ahead, None, rules, sight)
        except TerminalFault:
            return Decision(Outcome.IGNORE, None, (Reason.TERMINAL_ANSWER,))
        if surely and evidence.inherited is not False:
            return Decision(Outcome.IGNORE, None, (Reason.EVIDENCE_UNKNOWN,))
        return decide(ahead, evidence, rules, predicted=True)

    def again(self, record: Remediation, denial: Denial | None = None, *, verified: bool | None = True) -> Decision:
        """The decision about what was proposed or approved, on what Google Cloud says now. Raises TerminalFault.

        `denial`: as the log has it; without one, as the record tells of it.
        """
        last, rules = denial or records.last_denial(record), self._rules()
        evidence = self._evidence(last, record, rules, self.look())
        evidence = msgspec.structs.replace(evidence, verified=verified)
        return decide(last, evidence, rules, predicted=record.predicted)

    def evidence(self, record: Remediation) -> Evidence:
        """What a decision about this record would stand on now, and what no rule looks at besides, for a person."""
        return self._evidence(records.last_denial(record), record, _EverythingMatters(), self.look())

    def mode_at(self, denial: Denial) -> Mode:
        """The mode in force for this deploy; the switches are read only where they can matter."""
        if self._mode is Mode.DRY_RUN:
            return Mode.DRY_RUN
        return effective(self._ledger.modes(), self._mode, self._investigator.places(denial))

    def _evidence(self, denial: Denial, record: Remediation | None, rules: Rules, sight: Sight) -> Evidence:
        """What Google Cloud says about a denial; as if it were verified, which is asked only before a rule's write."""
        recent = False
        if record and record.state is State.GRANTED:
            granted = datetime.fromisoformat(record.updated)
            recent = min(self._now(), records.when(denial, self._now())) - granted < self._limits.propagation
        denials = record.denials + 1 if record else 1
        return self._investigator.evidence(denial, rules, sight, propagating=recent, denials=denials)

    def _was_taken_away(self, record: Remediation) -> bool:
        """Whether somebody took this grant away not long ago: a rule must not undo within minutes what they did.

        A record that says granted, where the decision is to grant, is one that nobody has noted as removed yet.
        """
        if record.state is State.GRANTED:
            return True
        since = record.taken_away
        return since is not None and self._now() - datetime.fromisoformat(since) < self._limits.hold_rejections

    def _brake(self, denial: Denial, ident: str) -> Reason | None:
        """What keeps rules from granting more this hour, to this member or at all; else takes one of its places."""
        hour, member = f"{self._now():%Y-%m-%dT%H}", denial.member.key if denial.member else ""
        if not self._ledger.take(f"{hour} {member}", self._limits.grants_to_a_member, ident):
            return Reason.MEMBER_BRAKE
        return None if self._ledger.take(hour, self._limits.grants_an_hour, ident) else Reason.BRAKE
