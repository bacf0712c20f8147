"""Describes the result of a post, for the log of the service and of `sweep`. Pure."""

from __future__ import annotations

import msgspec


class DeliveryResult(msgspec.Struct, frozen=True):
    """The result of one post to a channel. Never contains a webhook URL."""

    channel: str
    notices: tuple[str, ...]
    """Their ids; empty if the ledger could not be read, or the channel took too long."""
    fault: str = ""
    """Empty if it arrived."""
    given_up: bool = False

    def line(self) -> tuple[str, str, dict[str, object]]:
        """Severity, message and fields: WARNING for a failed attempt, ERROR after the last one."""
        fields: dict[str, object] = {"channel": self.channel, "notices": self.notices}
        what = self.notices[0] if len(self.notices) == 1 else f"{len(self.notices)} notices"
        if not self.fault:
            return "INFO", f"sent to {self.channel}: {what}", fields
        about = f"{what}: " if self.notices else ""
        if self.given_up:
            return "ERROR", f"gave up after 3 days: {about}{self.fault}", fields
        return "WARNING", f"not sent, will retry: {about}{self.fault}", fields
