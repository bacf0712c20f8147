"""The states of a remediation, the ways from one to the next, and how a grant ends."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class State(StrEnum):
    """Where a remediation stands."""

    PROPOSED = "proposed"
    """A reviewer is asked."""
    APPROVED = "approved"
    """Somebody, or a rule, said yes; the policy write is due."""
    GRANTED = "granted"
    """The member is in the repository's reader binding."""
    REJECTED = "rejected"
    """A reviewer said no; the same denial is counted, not raised again."""
    REFUSED = "refused"
    """What nobody can override stood against it."""
    FAILED = "failed"
    """Google Cloud refused the change for good; it may be approved again once the cause is gone."""
    REMOVED = "removed"
    """Somebody else took the member out of the binding again."""
    REVOKED = "revoked"
    """A reviewer took the member out of the binding again."""
    EXPIRED = "expired"
    """The grant was for a time, and that is over; the member is out of the binding again."""
    LAPSED = "lapsed"
    """Nobody answered, or nobody carried it out, in time."""


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
"""Every transition there is; any other is impossible. None is "no record yet".

A proposal that becomes a proposal is renewed: what a reviewer has to know about it has changed. A grant that becomes a
grant is renewed: its end is put off, and nothing else. An approval that was
not carried out may be approved again, by somebody else or for another time; one that does not hold any more when it is
to be carried out is proposed anew.
What is over (rejected, refused, removed, revoked, expired, lapsed) begins its next cycle with a new denial.
"""


class Ending(msgspec.Struct, frozen=True):
    """Who takes a grant away, and why; recorded before the policy changes, so that another process can finish it."""

    state: State
    """`revoked` or `expired`."""
    actor: str
    note: str
