"""Sends notices to a Pub/Sub topic: one JSON message each. Source: `projects.topics.publish` (REST).

Uses plain REST: Google's Pub/Sub client would add gRPC and a thread pool for this one call.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec

from remediate.cloud.rest import post
from remediate.errors import TerminalFault, TransientFault
from remediate.notify.interface import DeliveryFailed
from remediate.records.notice import Notice

_GOOGLE = "https://pubsub.googleapis.com"
_TIMEOUT = 5.0  # seconds


class TopicChannel:
    """A Channel for a topic, `projects/P/topics/T`. One call sends all waiting notices, one message each."""

    name = "pubsub"
    digest_threshold = 1
    for_people = False

    def __init__(self, topic: str, endpoint: str | None) -> None:
        self._topic = topic
        self._url = f"{endpoint or _GOOGLE}/v1/{topic}:publish"

    def send(self, notices: Sequence[Notice]) -> None:
        try:
            post(self._url, {"messages": [_message(each) for each in notices]}, _TIMEOUT, f"publish to {self._topic}")
        except (TransientFault, TerminalFault) as fault:
            raise DeliveryFailed(f"{self.name}: {fault}") from None


def _message(notice: Notice) -> dict[str, object]:
    """The notice, with attributes for subscription filters."""
    attributes = {
        "schema": str(notice.schema),
        "id": notice.id,
        "kind": str(notice.kind),
        "remediation": notice.remediation,
    }
    return {"data": base64.b64encode(msgspec.json.encode(notice)).decode(), "attributes": attributes}
