"""Turns a record of the trail into the word for what happened, where the states alone do not tell."""

from __future__ import annotations

from remediate.records.remediation import State, TrailRecord

RENEWED = "renewed"


def is_renewal(step: TrailRecord) -> bool:
    """Whether the step put a grant's end off: it was granted before, and is granted still; no policy was written."""
    return step.before is State.GRANTED and step.after is State.GRANTED


def became(step: TrailRecord) -> str:
    """What people read that the remediation became."""
    return RENEWED if is_renewal(step) else str(step.after)
