"""Turns a denial into a decision: evidence, rules, the mode in force, and the last checks before a grant.

The checks that need a log look-up, or a place under the rate limit, run only if a rule would grant.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import msgspec

from remediate.decisions.policy import (
    INVARIANTS,
    BuiltIn,
    Decision,
    Mode,
    Outcome,
    Rules,
    TextToConfirm,
    decide,
    downgrade_to_ask,
)
from remediate.decisions.variables import Evidence
from remediate.entries.denial import Denial
from remediate.errors import TerminalFault, TransientFault
from remediate.ledger.interface import Ledger
from remediate.reasons import Reason
from remediate.records import lifecycle
from remediate.records.modes import Modes, effective, loosened_by
from remediate.records.remediation import Lifecycle, Remediation
from remediate.records.results import Limits, Verdict
from remediate.records.states import State
from remediate.service.evidence import EvidenceCollector, PolicySnapshot
from remediate.service.history import History
from remediate.times import parse_time


class Decider:
    """Decides about denials. Raises TransientFault if a later attempt may succeed."""

    def __init__(
        self,
        ledger: Ledger,
        collector: EvidenceCollector,
        history: History,
        rules: Callable[[], Rules],
        mode: Mode | None,
        limits: Limits,
        clock: Callable[[], datetime],
        policy_confirmed: str | None = None,
    ) -> None:
        self._policy_confirmed = policy_confirmed
        self._ledger = ledger
        self._collector = collector
        self._history = history
        self._rules = rules
        self._mode = mode
        self._limits = limits
        self._now = clock

    def snapshot(self) -> PolicySnapshot:
        """A new snapshot, for the decisions about one denial."""
        return self._collector.snapshot()

    def decide(self, denial: Denial, snapshot: PolicySnapshot, *, from_log: bool) -> Decision:
        """The decision on the current evidence; a permanent error of Google Cloud is a refusal with it as the note."""
        try:
            return self._decided(denial, snapshot, from_log=from_log)
        except TerminalFault as fault:
            return Decision(Outcome.REFUSE, INVARIANTS, (Reason.TERMINAL_ANSWER,), note=str(fault))

    def _decided(self, denial: Denial, snapshot: PolicySnapshot, *, from_log: bool) -> Decision:
        rules, record = self._rules(), self._ledger.get(denial.grant.id)
        evidence = self._evidence(denial, record, rules, snapshot)
        decision = decide(denial, evidence, rules)
        if decision.outcome is not Outcome.GRANT:
            return decision
        if hold := self.hold(denial):
            return downgrade_to_ask(decision, hold)
        if record and self._was_taken_away(record):
            return downgrade_to_ask(decision, Reason.TAKEN_AWAY)
        verified = from_log or self._collector.matches_log(denial)
        decision = decide(denial, msgspec.structs.replace(evidence, verified=verified), rules)
        if decision.outcome is Outcome.GRANT and (brake := self._brake(denial)):
            return downgrade_to_ask(decision, brake)
        return decision

    def recheck(self, decision: Decision, record: Remediation | None) -> Decision:
        """The decision, checked again when it is recorded: a revocation may have come in between."""
        if decision.outcome is Outcome.GRANT and record is not None and self._was_taken_away(record):
            return downgrade_to_ask(decision, Reason.TAKEN_AWAY)
        return decision

    def decide_without_evidence(self, denial: Denial) -> Decision:
        """The decision about a denial without a member or a repository, for which no evidence can be collected."""
        return decide(denial, rules=self._rules())

    def decide_predicted(self, ahead: Denial, snapshot: PolicySnapshot, *, surely: bool) -> Decision | None:
        """The question to ask about a predicted denial; None if there is nothing to ask yet.

        `surely`: nothing to ask unless the member certainly has no access. If evidence is missing, wait for the denial.
        """
        rules = self._rules()
        try:
            evidence = self._evidence(ahead, None, rules, snapshot, predicted=True)
        except TerminalFault:
            return None
        if surely and evidence.inherited is not False:
            return None
        decision = decide(ahead, evidence, rules, predicted=True)
        return decision if decision.outcome is Outcome.ASK else None

    def reevaluate(self, record: Remediation, verdict: Verdict) -> Decision:
        """A new decision about a proposal or an approval, on the current evidence. Raises TerminalFault.

        The denial is the log's; if the log has none, it is rebuilt from the record.
        """
        last, rules = verdict.denial or lifecycle.last_denial(record), self._rules()
        predicted = record.tally.predicted or verdict.predicted
        evidence = self._evidence(last, record, rules, self.snapshot(), predicted=predicted)
        evidence = msgspec.structs.replace(evidence, verified=verdict.verified)
        return decide(last, evidence, rules, predicted=predicted)

    def decide_again(self, record: Remediation, verdict: Verdict) -> Decision:
        """What the rules do about the log's denial now, with all checks before a grant: no less than for a new denial.

        No rule grants on what the log does not have, or on a denial that is only predicted. Raises TerminalFault.
        """
        if record.tally.predicted or verdict.predicted or not verdict.verified:
            return self.reevaluate(record, verdict)
        denial = verdict.denial or lifecycle.last_denial(record)
        return self._decided(denial, self.snapshot(), from_log=verdict.denial is not None)

    def evidence(self, record: Remediation) -> Evidence:
        """All current evidence about this record, for a person, also what no rule uses."""
        last = lifecycle.last_denial(record)
        evidence = self._collector.evidence(last, self.snapshot(), denials=record.tally.denials + 1)
        with suppress(TransientFault):  # a page does not wait for the quota of the next minute
            evidence = msgspec.structs.replace(evidence, **self._history.past(last, _access_ended(record))._asdict())
        return evidence

    def built_in(self) -> str | None:
        """The policy digest of the built-in rule in trail records; None if a policy file is in force."""
        rules = self._rules()
        return rules.digest if isinstance(rules, BuiltIn) else None

    def may_renew(self, record: Remediation) -> bool:
        """Whether the built-in rule may renew its grant: it is in force, and nothing holds rules back there."""
        return self.built_in() is not None and self.hold(lifecycle.last_denial(record)) is None

    def renewed(self, record: Remediation) -> Decision | None:
        """The decision by which the built-in rule would grant now, after a newer proven deploy; None if it would not.

        That deploy proves the caller, their permission to deploy and the image; all other evidence is collected as
        usual. Raises TerminalFault and TransientFault.
        """
        rules = self._rules()
        denial = msgspec.structs.replace(lifecycle.last_denial(record), authorized=True, image_confirmed=True)
        evidence = self._collector.evidence(denial, self.snapshot(), denials=record.tally.denials)
        if not evidence.already_granted or not self.may_renew(record):
            return None
        as_if = {"already_granted": False, "verified": True}
        past = {"previously_deployed": True, "access_removed": False}
        decision = decide(denial, msgspec.structs.replace(evidence, **as_if, **past), rules)
        return decision if decision.outcome is Outcome.GRANT else None

    def hold(self, denial: Denial) -> Reason | None:
        """The reason that keeps every rule from granting for this deploy now; None if there is none.

        Dry-run mode, an unconfirmed policy text, or a loosening by the deployer within the last day. Reads the
        switches once.
        """
        if self._mode is Mode.DRY_RUN:
            return Reason.DRY_RUN
        modes, places = self._ledger.modes(), self._collector.places(denial)
        if effective(modes, self._mode, places) is Mode.DRY_RUN:
            return Reason.DRY_RUN
        if self._to_confirm(modes) is not None:
            return Reason.POLICY_UNCONFIRMED
        people = {each.key.casefold() for each in (denial.member, denial.deployer, *denial.behind) if each}
        return Reason.OWN_SWITCH if people & loosened_by(modes, places, self._now()) else None

    def may_write(self, denial: Denial, life: Lifecycle) -> bool:
        """Whether an event may carry out an approval now: a person's in enforce mode, a rule's without a `hold`."""
        if life.is_by_rule:
            return self.hold(denial) is None
        if self._mode is Mode.DRY_RUN:
            return False
        return effective(self._ledger.modes(), self._mode, self._collector.places(denial)) is Mode.ENFORCE

    def policy_to_confirm(self) -> TextToConfirm | None:
        """The policy text in force, if its rules may not grant until it is confirmed; else None."""
        return self._to_confirm(self._ledger.modes())

    def _to_confirm(self, modes: Modes) -> TextToConfirm | None:
        text = self._rules().to_confirm
        return None if text is None or text.sha256 in (modes.policy, self._policy_confirmed) else text

    def _evidence(
        self,
        denial: Denial,
        record: Remediation | None,
        rules: Rules,
        snapshot: PolicySnapshot,
        *,
        predicted: bool = False,
    ) -> Evidence:
        """The evidence about a denial. It counts as verified here; the log is asked only before a grant by a rule.

        The log is asked about the past only if the decision depends on it.
        """
        recent = False
        if record and record.state is State.GRANTED:
            granted = parse_time(record.lifecycle.updated)
            recent = min(self._now(), lifecycle.when(denial, self._now())) - granted < self._limits.propagation
        denials = record.tally.denials + 1 if record else 1
        evidence = self._collector.evidence(denial, snapshot, propagating=recent, denials=denials)
        if not hinges_on_past(denial, evidence, rules, predicted=predicted):
            return evidence
        past = self._history.past(denial, _access_ended(record) if record else None)
        return msgspec.structs.replace(evidence, **past._asdict())

    def _was_taken_away(self, record: Remediation) -> bool:
        """Whether this grant was revoked or removed recently: a rule must not undo that within minutes.

        If the record is granted and the decision is to grant, the grant was removed and the removal not recorded yet.
        """
        if record.state is State.GRANTED:
            return True
        since = record.lifecycle.taken_away
        return since is not None and self._now() - parse_time(since) < self._limits.hold_rejections

    def _brake(self, denial: Denial) -> Reason | None:
        """The rate limit that is reached this hour, for this member or in total; if none is, takes a place of each."""
        hour, grant = f"{self._now():%Y-%m-%dT%H}", denial.grant
        if not self._ledger.acquire_slot(f"{hour} {grant.member.key}", self._limits.grants_to_a_member, grant.id):
            return Reason.MEMBER_BRAKE
        return None if self._ledger.acquire_slot(hour, self._limits.grants_an_hour, grant.id) else Reason.BRAKE


def _access_ended(record: Remediation) -> str | None:
    """When access last ended by a person's decision: revoked, removed, or expired after a temporary approval."""
    return max(filter(None, (record.lifecycle.taken_away, record.lifecycle.ended)), default=None)


_PAST = ("evidence.previously_deployed", "evidence.access_removed")


def hinges_on_past(denial: Denial, evidence: Evidence, rules: Rules, *, predicted: bool) -> bool:
    """Whether the decision depends on the member's past, so that the log must be asked."""
    if not any(rules.mentions(each) for each in _PAST):
        return False
    known: tuple[bool | None, ...] = (True, False, None)
    pasts = ({"previously_deployed": one, "access_removed": other} for one in known for other in known)
    found = (decide(denial, msgspec.structs.replace(evidence, **past), rules, predicted=predicted) for past in pasts)
    return len(set(map(msgspec.json.encode, found))) > 1
