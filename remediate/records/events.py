"""What the service reports while it works, beside its records: one protocol, and a listener that does nothing."""

from __future__ import annotations

from typing import Protocol

from remediate.records.delivery import DeliveryResult
from remediate.records.modes import ModeChange
from remediate.records.remediation import TrailRecord


class Events(Protocol):
    """Who listens to the service. No call raises, and none is long."""

    def on_transition(self, step: TrailRecord | ModeChange) -> None:
        """A transition, or a switch of the mode, is in the ledger."""

    def on_delivery(self, result: DeliveryResult) -> None:
        """A post to a channel arrived, or did not."""

    def on_policy_error(self, error: str) -> None:
        """A changed policy file cannot be used; the one before stays in force."""


class NoEvents:
    """Listens to nothing. A listener that cares for some events derives from it."""

    def on_transition(self, step: TrailRecord | ModeChange) -> None:
        """Does nothing."""

    def on_delivery(self, result: DeliveryResult) -> None:
        """Does nothing."""

    def on_policy_error(self, error: str) -> None:
        """Does nothing."""


NO_EVENTS = NoEvents()
