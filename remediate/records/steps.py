"""Turns a trail record into the word for what happened, which the states alone do not always tell."""

from __future__ import annotations

from remediate.records.remediation import TrailRecord
from remediate.records.states import State

RENEWED = "renewed"


def is_renewal(step: TrailRecord) -> bool:
    """Whether the step only moved the end of a grant; it wrote no policy."""
    return step.before is State.GRANTED and step.after is State.GRANTED


def became(step: TrailRecord) -> str:
    """The word that people read for the new state."""
    return RENEWED if is_renewal(step) else str(step.after)
