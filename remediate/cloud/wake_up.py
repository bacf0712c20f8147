"""Wakes the writer by a Pub/Sub message that names a remediation. Source: `projects.topics.publish` (REST)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from remediate.cloud.rest import post
from remediate.errors import TerminalFault, TransientFault

_GOOGLE = "https://pubsub.googleapis.com"
_TIMEOUT = 5.0  # seconds


class WakeUps:
    """Publishes to a topic, `projects/P/topics/T`. `failed` gets the reason if a message could not be published."""

    def __init__(self, topic: str, endpoint: str | None, failed: Callable[[str], None]) -> None:
        self._topic = topic
        self._url = f"{endpoint or _GOOGLE}/v1/{topic}:publish"
        self._failed = failed

    def wake(self, remediation: str) -> None:
        """Raises nothing: a sweep carries out what no message woke the writer for."""
        body: dict[str, object] = {"messages": [{"attributes": {"remediation": remediation}}]}
        try:
            post(self._url, body, _TIMEOUT, f"publish to {self._topic}")
        except (TransientFault, TerminalFault) as fault:
            self._failed(f"the writer was not woken, and the next sweep carries out {remediation}: {fault}")


class _Attributes(msgspec.Struct):
    remediation: str


class _Message(msgspec.Struct):
    attributes: _Attributes


class _Push(msgspec.Struct):
    message: _Message


_pushes = msgspec.json.Decoder(_Push)


def woken_for(body: bytes) -> str | None:
    """The remediation that a push names; None if this is no such message."""
    try:
        return _pushes.decode(body).message.attributes.remediation
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
