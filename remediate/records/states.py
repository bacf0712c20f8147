"""The states of a remediation, the transitions between them, and the pending end of a grant."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class State(StrEnum):
    """The state of a remediation."""

    PROPOSED = "proposed"
    """It waits for a reviewer."""
    APPROVED = "approved"
    """A reviewer or a rule approved it; the policy write is due."""
    GRANTED = "granted"
    """The member is in the repository's reader binding."""
    REJECTED = "rejected"
    """A reviewer rejected it; further denials are counted and do not open it again."""
    REFUSED = "refused"
    """An invariant or a rule forbids it; no reviewer can override that."""
    FAILED = "failed"
    """Google Cloud refused the change permanently; it can be approved again once the cause is fixed."""
    REMOVED = "removed"
    """The member was removed from the binding, and not by remediate."""
    REVOKED = "revoked"
    """A reviewer revoked the grant; the member is out of the binding."""
    EXPIRED = "expired"
    """The grant reached its end; the member is out of the binding."""
    LAPSED = "lapsed"
    """The proposal was not answered, or the approval not carried out, in time."""


TRANSITIONS: dict[State | None, frozenset[State]] = {
    None: frozenset({State.PROPOSED, State.REFUSED, State.FAILED}),
    State.PROPOSED: frozenset(
        {State.PROPOSED, State.APPROVED, State.REJECTED, State.REFUSED, State.FAILED, State.LAPSED}
    ),
    State.APPROVED: frozenset(
        {State.APPROVED, State.GRANTED, State.PROPOSED, State.REFUSED, State.FAILED, State.LAPSED}
    ),
    State.GRANTED: frozenset({State.GRANTED, State.REMOVED, State.REVOKED, State.EXPIRED}),
    State.REJECTED: frozenset({State.PROPOSED, State.REFUSED}),
    State.REFUSED: frozenset({State.PROPOSED}),
    State.FAILED: frozenset({State.APPROVED, State.PROPOSED, State.REFUSED}),
    State.REMOVED: frozenset({State.PROPOSED, State.REFUSED}),
    State.REVOKED: frozenset({State.PROPOSED, State.REFUSED}),
    State.EXPIRED: frozenset({State.PROPOSED, State.REFUSED}),
    State.LAPSED: frozenset({State.PROPOSED, State.REFUSED}),
}
"""Every allowed transition. None means that no record exists yet.

From `proposed` to `proposed`: what the reviewer must know has changed. From `granted` to `granted`: a renewal, which
only moves the end. From `approved` to `approved`: another reviewer approves, or for another duration, before the first
approval is carried out. From `approved` to `proposed`: the approval no longer holds when it is due.
A closed remediation (rejected, refused, removed, revoked, expired, lapsed) begins its next cycle with a new denial.
"""


class Ending(msgspec.Struct, frozen=True):
    """Who ends a grant, and why. Stored before the policy changes, so that another process can finish the removal."""

    state: State
    """`revoked` or `expired`."""
    actor: str
    note: str
