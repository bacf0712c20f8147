"""What follows: the transitions that a new denial's decision takes a record through, and what a deploy still lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from remediate.decisions.policy import Decision, Outcome
from remediate.iam.member import Member
from remediate.reasons import Reason
from remediate.records.digests import terms_asked
from remediate.records.remediation import RULE, Ending, Remediation, State, TrailRecord, material_reasons, terms_of


def ending_for(record: Remediation, *, actor: str) -> Ending:
    """What became of a grant whose member is in the binding no more: what was announced, or somebody else's doing."""
    return record.ending or Ending(State.REMOVED, actor, "")


def next_transitions(
    record: Remediation, decision: Decision, *, actor: str, held: bool
) -> list[tuple[State, str, str]]:
    """The transitions that a new denial's decision takes a record through, each with its actor and a note.

    None where Google Cloud could not be asked, or somebody's word stands: an approval that is being carried out, a
    final answer of Google's, or a rejection that is still `held`. What was granted comes here only when it is gone.
    """
    standing = record.state in (State.APPROVED, State.FAILED) or (record.state is State.REJECTED and held)
    stopped = record.state is State.APPROVED and decision.outcome is Outcome.REFUSE
    unasked = Reason.TERMINAL_ANSWER in decision.reasons
    if decision.outcome is Outcome.IGNORE or unasked or (standing and not stopped):
        return []
    steps: list[tuple[State, str, str]] = []
    if record.state is State.GRANTED:
        end = ending_for(record, actor=actor)
        steps.append((end.state, end.actor, end.note))
    if decision.outcome is Outcome.REFUSE:
        return steps if record.state is State.REFUSED else [*steps, (State.REFUSED, actor, "")]
    if record.state is not State.PROPOSED or (decision.outcome is Outcome.ASK and differs_materially(record, decision)):
        steps.append((State.PROPOSED, actor, ""))
    if decision.outcome is Outcome.GRANT:
        steps.append((State.APPROVED, f"{RULE}{decision.rule}", ""))
    return steps


def unmet_partners(record: Remediation, partners: Iterable[Remediation]) -> tuple[Remediation, ...]:
    """Who else has to read before the deploy behind a granted record gets through: until then a retry fails too.

    Of a deployer it is the last deploy that counts, with its project's service agent. An agent serves many deployers:
    once one of them can read, its deploys get through.
    """
    found = tuple(partners)
    absent = tuple(each for each in found if each.state is not State.GRANTED and not _READS & set(each.reasons))
    if Member(record.member).run_agent_of is None:
        number = record.deploys[-1].number if record.deploys else None
        agents = {each.id: Member(each.member).run_agent_of for each in absent}
        return tuple(each for each in absent if None in (number, agents[each.id]) or agents[each.id] == number)
    deployers = [each for each in found if Member(each.member).run_agent_of is None]
    return () if any(each not in absent for each in deployers) else absent


_READS = {Reason.ALREADY_GRANTED, Reason.STILL_PROPAGATING, Reason.INHERITED}
"""Reasons that say of a member that it can read, though nothing of ours was granted."""


def differs_materially(record: Remediation, decision: Decision) -> bool:
    """Whether a decision says more, or on other terms, than the record tells a reviewer of.

    A proposal keeps every reason and all terms of its cycle, so that two deploys that are denied in turn do not propose
    it anew each time.
    """
    current = terms_asked(
        record.rule, record.max_duration, record.reviewers, record.rule_comment, record.approvals_needed
    )
    known = terms_of(decision) in (current, *record.shown)
    return not known or not {*material_reasons(decision.reasons)} <= {*material_reasons(record.reasons)}


def google_said(record: Remediation, steps: Sequence[TrailRecord]) -> str:
    """Google's own words, where it refused for good; empty where it did not."""
    if Reason.TERMINAL_ANSWER not in record.reasons:
        return ""
    said = (step.note for step in reversed(steps) if step.note and Reason.TERMINAL_ANSWER in step.reasons)
    return next(said, "")
