"""Reads a trail and its record, and verifies them. These are two reads, so another process may write in between."""

from __future__ import annotations

from remediate.errors import LedgerFault, TransientFault
from remediate.ledger.interface import Ledger
from remediate.records.modes import ModeChange, Modes
from remediate.records.remediation import TrailRecord
from remediate.records.trail_verification import broken_switches, broken_trail

_LOOKS = 3  # a trail that is broken each time is really broken
_CURE = "`remediate trail verify` checks every trail. Compare the record with a backup and with Cloud Logging."


def checked_trail(ledger: Ledger, ident: str) -> tuple[list[TrailRecord], str | None]:
    """The trail of a remediation, and a description of its first broken link; None if the trail is intact."""
    steps: list[TrailRecord] = []
    link: str | None = None
    for _ in range(_LOOKS):
        try:
            steps = list(ledger.trail(ident))
            link = broken_trail(ident, ledger.get(ident), steps)
        except LedgerFault as fault:
            link = str(fault)
        if link is None:
            break
    return steps, link


def checked_switches(ledger: Ledger) -> tuple[Modes, list[ModeChange], str | None]:
    """The switches in force, all their changes, and a description of the first broken link; None if intact."""
    modes, changes = Modes(), list[ModeChange]()
    link: str | None = None
    for _ in range(_LOOKS):
        try:
            modes, changes = ledger.modes(), list(ledger.mode_changes())
            link = broken_switches(modes, changes)
        except LedgerFault as fault:
            link = str(fault)
        if link is None:
            break
    return modes, changes, link


def require_whole(ledger: Ledger, ident: str) -> None:
    """Raise LedgerFault, which names the broken link, if a record and its trail do not agree.

    Called before every action on a record: a record that was changed without its trail is not acted on, and no new
    transition hides the change. Raises TransientFault if the record keeps changing during the check.
    """
    record = ledger.get(ident)
    for _ in range(_LOOKS):
        link = broken_trail(ident, record, list(ledger.trail(ident)))
        if link is None:
            return
        before, record = record, ledger.get(ident)
        if record == before:
            raise LedgerFault(
                f"the hash chain of {ident} is broken, so remediate does not act on it: {link}", advice=_CURE
            )
    raise TransientFault(f"the record of {ident} kept changing while its trail was checked")
