"""Turns what became of a post into the line that says so, in the service's log and in `sweep`'s. Pure."""

from __future__ import annotations

import msgspec


class DeliveryResult(msgspec.Struct, frozen=True):
    """What became of one post to a channel, or of an attempt to make one. Names no webhook's URL."""

    channel: str
    notices: tuple[str, ...]
    """Their ids; empty where the channel's parcels could not even be looked up, or it took too long."""
    fault: str = ""
    """Empty where it arrived."""
    given_up: bool = False

    def line(self) -> tuple[str, str, dict[str, object]]:
        """Severity, message and fields: a WARNING where it did not arrive, an ERROR where it never will."""
        fields: dict[str, object] = {"channel": self.channel, "notices": self.notices}
        what = self.notices[0] if len(self.notices) == 1 else f"{len(self.notices)} notices"
        if not self.fault:
            return "INFO", f"sent to {self.channel}: {what}", fields
        about = f"{what}: " if self.notices else ""
        if self.given_up:
            return "ERROR", f"given up after three days: {about}{self.fault}", fields
        return "WARNING", f"not sent, and tried again later: {about}{self.fault}", fields
