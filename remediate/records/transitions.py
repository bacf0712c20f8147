"""Turns the decision about a new denial into transitions of the record, and says which grants a deploy still needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from remediate.decisions.policy import Decision, Outcome
from remediate.iam.member import Member
from remediate.reasons import Reason
from remediate.records.blocks import blocks_in
from remediate.records.digests import material_reasons, rule_terms_digest
from remediate.records.lifecycle import terms_of
from remediate.records.remediation import RULE, Remediation, TrailRecord
from remediate.records.states import Ending, State


def ending_for(record: Remediation, *, actor: str) -> Ending:
    """How a grant ended whose member is not in the binding: by the pending removal, or by a change in IAM."""
    return record.lifecycle.ending or Ending(State.REMOVED, actor, "")


def next_transitions(
    record: Remediation, decision: Decision, *, actor: str, held: bool
) -> list[tuple[State, str, str]]:
    """The transitions that the decision about a new denial causes, each with its actor and note.

    Empty if Google Cloud refused to answer, if an approval is being carried out, if the change failed permanently, or
    if a rejection is still `held`. A granted record comes here only after its grant is gone. A refusal for what the
    event alone says does not stop an approval: it is carried out, or not, on the denial in the log.
    """
    standing = record.state in (State.APPROVED, State.FAILED) or (record.state is State.REJECTED and held)
    final = decision.outcome is Outcome.REFUSE and not _OF_THE_EVENT & set(decision.reasons)
    stopped = record.state is State.APPROVED and final
    unasked = Reason.TERMINAL_ANSWER in decision.reasons
    if decision.outcome is Outcome.IGNORE or unasked or (standing and not stopped):
        return []
    steps: list[tuple[State, str, str]] = []
    if record.state is State.GRANTED:
        end = ending_for(record, actor=actor)
        steps.append((end.state, end.actor, end.note))
    if decision.outcome is Outcome.REFUSE:
        return steps if record.state is State.REFUSED else [*steps, (State.REFUSED, actor, "")]
    differs = differs_materially(record, decision) or is_unblocked(record, decision)
    if record.state is not State.PROPOSED or (decision.outcome is Outcome.ASK and differs):
        steps.append((State.PROPOSED, actor, ""))
    if decision.outcome is Outcome.GRANT:
        steps.append((State.APPROVED, f"{RULE}{decision.rule}", ""))
    return steps


_OF_THE_EVENT = {Reason.UNVERIFIED_EVENT, Reason.POLICY_REFUSES}
"""The reasons to refuse that may come from the content of an event."""


def unmet_partners(record: Remediation, partners: Iterable[Remediation]) -> tuple[Remediation, ...]:
    """The partners that also need access before the deploy of a granted record works; until then a retry fails.

    For a deployer, the last deploy counts, with the service agent of its project. A service agent serves many
    deployers: once one of them has access, its deploys work.
    """
    found = tuple(partners)
    absent = tuple(each for each in found if each.state is not State.GRANTED and not _READS & set(each.reasons))
    if Member(record.member).run_agent_of is None:
        number = record.tally.deploys[-1].number if record.tally.deploys else None
        agents = {each.id: Member(each.member).run_agent_of for each in absent}
        return tuple(each for each in absent if None in (number, agents[each.id]) or agents[each.id] == number)
    deployers = [each for each in found if Member(each.member).run_agent_of is None]
    return () if any(each not in absent for each in deployers) else absent


_READS = {Reason.ALREADY_GRANTED, Reason.STILL_PROPAGATING, Reason.INHERITED}
"""The reasons that say that a member has access without a grant by remediate."""


def differs_materially(record: Remediation, decision: Decision) -> bool:
    """Whether a decision has reasons or terms that the record does not show to a reviewer yet.

    A proposal keeps all reasons and terms of its cycle, so that two deploys that are denied in turn do not change it
    each time.
    """
    terms = terms_of(decision)
    known = terms == record.terms or rule_terms_digest(terms) in record.lifecycle.shown
    return not known or not {*material_reasons(decision.reasons)} <= {*material_reasons(record.reasons)}


def is_unblocked(record: Remediation, decision: Decision) -> bool:
    """Whether a reason that blocks the proposal does not hold any more."""
    return not set(blocks_in(record.reasons)) <= set(decision.reasons)


def words_of_google(record: Remediation, steps: Sequence[TrailRecord]) -> str:
    """The answer of Google Cloud that made it fail permanently; empty if it did not."""
    if Reason.TERMINAL_ANSWER not in record.reasons:
        return ""
    said = (step.note for step in reversed(steps) if step.note and Reason.TERMINAL_ANSWER in step.reasons)
    return next(said, "")


def why_not(record: Remediation, steps: Sequence[TrailRecord], state: State) -> str:
    """Why a remediation cannot become `state`: who closed it and when, or where it is now."""
    if record.state not in _CLOSED or not steps:
        return f"{record.id} is {record.state}; it cannot be {state}"
    last = steps[-1]
    who = f" by {last.actor.partition(':')[2]}" if ":" in last.actor else ""
    return f"{record.id} {_CLOSED[record.state]}{who} ({last.at[:10]}); it cannot be {state}"


_CLOSED = {
    State.REJECTED: "was rejected",
    State.REFUSED: "was refused",
    State.REMOVED: "was removed by others",
    State.REVOKED: "was revoked",
    State.EXPIRED: "expired",
    State.LAPSED: "expired unanswered",
}
