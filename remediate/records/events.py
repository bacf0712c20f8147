"""What the service reports while it works, in addition to its records: a protocol, and a listener that does nothing."""

from __future__ import annotations

from typing import Protocol

from remediate.records.delivery import DeliveryResult
from remediate.records.modes import ModeChange
from remediate.records.remediation import TrailRecord


class Events(Protocol):
    """Listens to the service. No call raises, and each returns quickly."""

    def on_transition(self, step: TrailRecord | ModeChange) -> None:
        """A transition, or a switch of the mode, was stored in the ledger."""

    def on_delivery(self, result: DeliveryResult) -> None:
        """A post to a channel arrived, or did not."""

    def on_policy_error(self, error: str) -> None:
        """A changed policy file cannot be used; the previous one stays in force."""

    def on_no_wake_up(self, error: str) -> None:
        """The writer could not be woken; the next sweep carries out what is due."""


class NoEvents:
    """Ignores all events. Subclasses handle some of them."""

    def on_transition(self, step: TrailRecord | ModeChange) -> None:
        """Does nothing."""

    def on_delivery(self, result: DeliveryResult) -> None:
        """Does nothing."""

    def on_policy_error(self, error: str) -> None:
        """Does nothing."""

    def on_no_wake_up(self, error: str) -> None:
        """Does nothing."""


NO_EVENTS = NoEvents()
