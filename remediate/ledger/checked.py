"""Reads a remediation's trail and checks it: two look-ups, between which somebody may have moved it on."""

from __future__ import annotations

import msgspec

from remediate.audit import broken_trail
from remediate.ledger.interface import Ledger
from remediate.remediation import TrailRecord

_LOOKS = 3  # what is broken each time is broken


def checked_trail(ledger: Ledger, ident: str) -> tuple[list[TrailRecord], str | None]:
    """The trail, and its first broken link in words; None where it is whole."""
    steps: list[TrailRecord] = []
    link: str | None = None
    for _ in range(_LOOKS):
        try:
            steps = list(ledger.trail(ident))
            link = broken_trail(ident, ledger.get(ident), steps)
        except msgspec.MsgspecError as error:
            link = f"a record cannot be read: {error}"
        if link is None:
            break
    return steps, link
