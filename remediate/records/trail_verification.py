"""Verifies a trail: its hash chain, and that the record agrees with it.

A trail cannot show the loss of a whole remediation with its trail, or a change of the fields that it does not cover,
such as the number of denials.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remediate.records.digests import terms_digest
from remediate.records.hash_chain import broken_link
from remediate.records.modes import CLEAR, ModeChange, Modes, applied, open_request
from remediate.records.remediation import Remediation, TrailRecord
from remediate.records.states import TRANSITIONS, State
from remediate.records.steps import is_renewal
from remediate.times import parse_time


def broken_trail(ident: str, record: Remediation | None, trail: Sequence[TrailRecord]) -> str | None:
    """As `broken_link`; also checks that the record has the state, the approvers and the terms of its trail."""
    if link := broken_link(record.storage if record else None, trail):
        return link
    if record is None:
        return None
    before: State | None = None
    for step in trail:
        if step.before is not before or step.after not in TRANSITIONS[step.before]:
            return f"record {step.seq} goes from {step.before or 'nothing'} to {step.after}, which no step does here"
        before = step.after
        if (step.remediation, step.repository, step.member) != (ident, record.repository, record.member):
            return f"record {step.seq} belongs to another remediation"
    if record.id != ident or not trail or trail[-1].after is not record.state:
        return f"the remediation is {record.state}, but its trail ends in another state"
    life = record.lifecycle
    approvals = [step.actor for step in trail if step.after is State.APPROVED]
    if life.approver is not None and life.approver not in approvals:
        return f"the remediation names {life.approver} as approver, but its trail has no such approval"
    given = {step.actor for step in trail if step.approval is not msgspec.UNSET} | set(approvals)
    if missing := next((each.actor for each in life.approvals if each.actor not in given), None):
        return f"the remediation counts an approval by {missing}, but its trail has no such approval"
    terms = trail[-1].terms
    if terms is not msgspec.UNSET and terms != terms_digest(record):
        return "the remediation's terms (grant, expiry, approver) are not those in its trail"
    if [step.at for step in trail if not is_renewal(step)][-1:] != [life.updated]:  # a renewal keeps `updated`
        return "the remediation's last change has another time than its trail says"
    return None


def broken_switches(modes: Modes, changes: Sequence[ModeChange]) -> str | None:
    """As `broken_link`; also checks that the changes lead to the switches in force, each confirmed as required."""
    if link := broken_link(modes, changes):
        return link
    reached = Modes()
    for change in changes:
        if isinstance(change.asked_by, str) and not _was_asked(reached, change):
            return f"record {change.seq} confirms a request by {change.asked_by} that the trail does not have"
        reached = applied(reached, change)
    if dict(reached.switches) != dict(modes.switches):
        return "the switches in force are not those in the trail"
    if dict(reached.asked) != dict(modes.asked):
        return "the requests that wait for a second person are not those in the trail"
    if reached.policy != modes.policy:
        return "the confirmed policy text is not the one in the trail"
    if reached.loosened != modes.loosened:
        return "the people who loosened the mode are not those in the trail"
    return None


def _was_asked(modes: Modes, change: ModeChange) -> bool:
    """Whether another person had requested exactly this within the day before."""
    asked = open_request(modes, change.scope, parse_time(change.at))
    wanted = change.confirmed if isinstance(change.confirmed, str) else change.after or CLEAR
    found = None if asked is None else (asked.actor, asked.wanted)
    return found == (change.asked_by, wanted) and str(change.asked_by).casefold() != change.actor.casefold()
