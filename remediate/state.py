"""The states of a remediation: what a record says of where it is."""

from __future__ import annotations

from enum import StrEnum


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
