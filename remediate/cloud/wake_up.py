"""Wakes the writer by a Pub/Sub message that names a remediation. Source: `projects.topics.publish` (REST)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import msgspec

from remediate.cloud.rest import post
from remediate.errors import TerminalFault, TransientFault

_GOOGLE = "https://pubsub.googleapis.com"
_TIMEOUT = 5.0  # seconds
_PAUSE = 60.0  # seconds without another try after a failed one, so that fifty approvals do not each wait for a time-out


class WakeUps:
    """Publishes to a topic, `projects/P/topics/T`. `failed` gets the reason if a message could not be published."""

    def __init__(
        self,
        topic: str,
        endpoint: str | None,
        failed: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topic = topic
        self._url = f"{endpoint or _GOOGLE}/v1/{topic}:publish"
        self._failed = failed
        self._monotonic = monotonic
        self._paused_until = float("-inf")

    def wake(self, remediation: str) -> None:
        """Raises nothing: a sweep carries out what no message woke the writer for."""
        if self._monotonic() < self._paused_until:
            return
        body: dict[str, object] = {"messages": [{"attributes": {"remediation": remediation}}]}
        try:
            post(self._url, body, _TIMEOUT, f"publish to {self._topic}")
        except (TransientFault, TerminalFault) as fault:
            self._paused_until = self._monotonic() + _PAUSE
            self._failed(f"the writer was not woken, and the next sweep carries out {remediation}: {fault}")


class _Attributes(msgspec.Struct):
    remediation: str


class _Message(msgspec.Struct):
    attributes: _Attributes


class _Push(msgspec.Struct):
    message: _Message


_pushes = msgspec.json.Decoder(_Push)
_ID = re.compile(r"r-[0-9a-f]{12}\Z")  # `Grant.id`


def woken_for(body: bytes) -> str | None:
    """The remediation that a push names; None if this is no such message, or names what no remediation is called."""
    try:
        ident = _pushes.decode(body).message.attributes.remediation
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return ident if _ID.match(ident) else None
