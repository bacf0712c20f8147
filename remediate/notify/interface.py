"""The port for notices: the channel, and the notifier that the executor uses."""

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
    """A channel did not accept a post; `after`: do not retry before. Its text never contains a webhook URL.

    `down`: the channel would not accept other posts now either.
    """

    def __init__(self, message: str, *, down: bool = True, after: timedelta | None = None) -> None:
        super().__init__(message)
        self.down = down
        self.after = after


class Channel(Protocol):
    """A receiver of notices."""

    @property
    def name(self) -> str:
        """Stable, because the ledger stores messages under it."""

    @property
    def digest_threshold(self) -> int:
        """The number of waiting notices that go into one post; fewer go one by one."""

    @property
    def for_people(self) -> bool:
        """Whether people read it: they do not get notices that are no longer current; programs get every notice."""

    def send(self, notices: Sequence[Notice]) -> None:
        """Send them in one post, within seconds. Raises Unsent."""


class Notifier(Protocol):
    """What the executor needs: messages to store with a step, and a signal to send them."""

    def parcels(
        self,
        record: Remediation,
        trail: Sequence[TrailRecord],
        *,
        brake: Reason | None,
        look_up: Callable[[str], Remediation | None],
    ) -> Sequence[OutboxMessage]:
        """The messages of this step. `brake`: the limit that stopped a rule; `look_up` looks up a remediation."""

    def reminders(self, record: Remediation) -> Sequence[OutboxMessage]:
        """The reminders of an open proposal."""

    def flush(self) -> None:
        """Signal that messages were stored. Returns immediately and never raises: no step waits for a notice."""
