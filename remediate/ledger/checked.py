"""Reads a chain and what it belongs to, and checks them: two look-ups, and somebody may move them on in between."""

from __future__ import annotations

from remediate.audit import broken_switches, broken_trail
from remediate.errors import LedgerFault
from remediate.ledger.interface import Ledger
from remediate.modes import ModeChange, Modes
from remediate.remediation import TrailRecord

_LOOKS = 3  # what is broken each time is broken


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
