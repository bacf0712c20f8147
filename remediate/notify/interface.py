"""What the rest sees of being told: what a channel does, and what the executor asks of whoever notifies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from remediate.errors import RemediateError
from remediate.reasons import Reason
from remediate.records.notice import Notice
from remediate.records.outbox import OutboxMessage
from remediate.records.remediation import Remediation, TrailRecord


class DeliveryFailed(RemediateError):
    """A channel did not take what was sent; `after`: not again before that. Its text names no URL of a webhook.

    `down`: it would take nothing else either, so that the rest need not try just now.
    """

    def __init__(self, message: str, *, down: bool = True, after: timedelta | None = None) -> None:
        super().__init__(message)
        self.down = down
        self.after = after


class Channel(Protocol):
    """Where notices go."""

    @property
    def name(self) -> str:
        """Stable: parcels are stored by it."""

    @property
    def together(self) -> int:
        """From how many waiting notices on they go in one post; fewer go one by one."""

    @property
    def for_people(self) -> bool:
        """Whether people read it, who need not be asked what was decided meanwhile; machines hear of everything."""

    def send(self, notices: Sequence[Notice]) -> None:
        """Send them in one post, within seconds. Raises Unsent."""


class Notifier(Protocol):
    """What the executor asks of whoever notifies: parcels to store with a step, and that they are sent soon."""

    def parcels(
        self,
        record: Remediation,
        trail: Sequence[TrailRecord],
        *,
        brake: Reason | None,
        known: Callable[[str], Remediation | None],
    ) -> Sequence[OutboxMessage]:
        """What is to be told of this step. `brake`: what kept a rule from granting; `known` looks up a remediation."""

    def reminders(self, record: Remediation) -> Sequence[OutboxMessage]:
        """What is to be told of a proposal that waits."""

    def flush(self) -> None:
        """Parcels were stored. Returns at once and raises nothing: no decision waits for a notice."""
