"""Checks a trail against what it led to: the chain itself, and that the record says what the trail says.

What no trail can show: the loss of a whole remediation with its trail, and changes of what a record only counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from remediate.records.hash_chain import broken_link
from remediate.records.modes import CLEAR, ModeChange, Modes, applied, open_request
from remediate.records.remediation import Remediation, State, TrailRecord, terms_digest
from remediate.records.steps import is_renewal


def broken_trail(ident: str, record: Remediation | None, trail: Sequence[TrailRecord]) -> str | None:
    """As `broken_link`; and whether the record stands where its trail leads, on whose word."""
    if link := broken_link(record, trail):
        return link
    if record is None:
        return None
    for step in trail:
        if (step.remediation, step.repository, step.member) != (ident, record.repository, record.member):
            return f"record {step.seq} belongs to another remediation"
    if record.id != ident or not trail or trail[-1].after is not record.state:
        return f"the remediation says {record.state}, and its trail something else"
    approvals = [step.actor for step in trail if step.after is State.APPROVED]
    if record.approver is not None and record.approver not in approvals:
        return f"the remediation stands on the word of {record.approver}, who is not on its trail"
    given = {step.actor for step in trail if step.approval is not msgspec.UNSET} | set(approvals)
    if missing := next((each.actor for each in record.approvals if each.actor not in given), None):
        return f"the remediation counts an approval by {missing}, who is not on its trail"
    terms = trail[-1].terms
    if terms is not msgspec.UNSET and terms != terms_digest(record):
        return "the remediation's terms (whose grant, until when, on whose word) are not those that its trail leads to"
    if [step.at for step in trail if not is_renewal(step)][-1:] != [record.updated]:  # a renewed grant stands as before
        return "the remediation changed at another time than its trail says"
    return None


def broken_switches(modes: Modes, changes: Sequence[ModeChange]) -> str | None:
    """As `broken_link`; and whether what is in force is what the changes lead to, each confirmed by a second person."""
    if link := broken_link(modes, changes):
        return link
    reached = Modes()
    for change in changes:
        if isinstance(change.asked_by, str) and not _was_asked(reached, change):
            return f"record {change.seq} confirms what {change.asked_by} had not asked for"
        reached = applied(reached, change)
    if dict(reached.switches) != dict(modes.switches):
        return "the switches in force are not those that the trail leads to"
    if dict(reached.asked) != dict(modes.asked):
        return "what waits for a second person is not what the trail says"
    if reached.policy != modes.policy:
        return "the confirmed policy text is not the one that the trail leads to"
    if reached.loosened != modes.loosened:
        return "who loosened the mode lately is not what the trail says"
    return None


def _was_asked(modes: Modes, change: ModeChange) -> bool:
    """Whether the other person had asked for just this, within a day before."""
    asked = open_request(modes, change.scope, datetime.fromisoformat(change.at))
    wanted = change.confirmed if isinstance(change.confirmed, str) else change.after or CLEAR
    found = None if asked is None else (asked.actor, asked.wanted)
    return found == (change.asked_by, wanted) and str(change.asked_by).casefold() != change.actor.casefold()
