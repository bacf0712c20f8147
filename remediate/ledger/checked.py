"""Reads a chain and what it belongs to, and checks them: two look-ups, and somebody may move them on in between."""

from __future__ import annotations

from remediate.errors import LedgerFault, TransientFault
from remediate.ledger.interface import Ledger
from remediate.records.modes import ModeChange, Modes
from remediate.records.remediation import TrailRecord
from remediate.records.trail_verification import broken_switches, broken_trail

_LOOKS = 3  # what is broken each time is broken
_CURE = "`remediate trail verify` checks every chain; compare the record with a backup and the log's trail."


def checked_trail(ledger: Ledger, ident: str) -> tuple[list[TrailRecord], str | None]:
    """A remediation's trail, and its first broken link in words; None where it is whole."""
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
    """The switches in force, every change of them, and the first broken link in words; None where they are whole."""
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
    """Raise LedgerFault, which names the broken link, where a record and its trail do not prove each other.

    Asked before anything is done on a record's word: what was changed behind the trail's back is not carried out, and
    no transition of ours covers it up. Raises TransientFault where the record keeps changing meanwhile.
    """
    record = ledger.get(ident)
    for _ in range(_LOOKS):
        link = broken_trail(ident, record, list(ledger.trail(ident)))
        if link is None:
            return
        before, record = record, ledger.get(ident)
        if record == before:
            raise LedgerFault(f"the hash chain of {ident} is broken, so nothing is done about it: {link}", advice=_CURE)
    raise TransientFault(f"the record of {ident} kept changing while its trail was checked")
