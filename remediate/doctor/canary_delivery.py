"""Publishes a synthetic denial, and looks where it has come: the receiver's log line, and the ledger's record."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from remediate.cloud.rest import get, post
from remediate.doctor.canary import Line
from remediate.doctor.names import Site
from remediate.errors import Missing
from remediate.times import instant

_PUBSUB, _LOGGING = "https://pubsub.googleapis.com", "https://logging.googleapis.com"
_SKEW = timedelta(minutes=5)  # that this machine's clock may be ahead of Google's
_REGISTRY = "https://artifactregistry.googleapis.com"


class _Payload(msgspec.Struct):
    milliseconds: float = 0.0
    outcome: str = ""
    reasons: tuple[str, ...] = ()
    state: str | None = None


class _Entry(msgspec.Struct, rename="camel"):
    timestamp: datetime
    json_payload: _Payload = msgspec.field(default_factory=_Payload)


class _Page(msgspec.Struct):
    entries: list[_Entry] = []


class CanaryPath:
    """The two ends of the path of one site. `endpoints` override Google's addresses; `timeout` is seconds a call."""

    def __init__(self, site: Site, endpoints: Mapping[str, str], timeout: float) -> None:
        self._site = site
        self._at = endpoints.get
        self._timeout = timeout

    def free(self, repository: str) -> bool:
        """Whether there is no such repository. Raises TerminalFault or TransientFault where that cannot be told."""
        try:
            get(f"{self._at('ARTIFACTREGISTRY', _REGISTRY)}/v1/{repository}", self._timeout, f"get {repository}")
        except Missing:
            return True
        return False

    def publish(self, entry: bytes) -> None:
        """Publish an entry to the sinks' topic as a sink does. Raises as `free` does."""
        message = {"data": base64.b64encode(entry + b"\n").decode(), "attributes": {"synthetic": "remediate-doctor"}}
        url = f"{self._at('PUBSUB', _PUBSUB)}/v1/{self._site.topic}:publish"
        post(url, {"messages": [message]}, self._timeout, f"publish to {self._site.topic}")

    def line(self, insert_id: str, since: datetime) -> Line | None:
        """The receiver's log line about the entry. Raises as `free` does."""
        wanted = (
            f'resource.type="cloud_run_revision" resource.labels.service_name="{self._site.name}-receiver" '
            f'timestamp>="{instant(since - _SKEW)}" jsonPayload.insert_id="{insert_id}" jsonPayload.outcome:*'
        )
        body: dict[str, object] = {"resourceNames": [self._site.here], "filter": wanted, "pageSize": 1}
        answer = post(
            f"{self._at('LOGGING', _LOGGING)}/v2/entries:list", body, self._timeout, "list the receiver's log"
        )
        found = msgspec.json.decode(answer, type=_Page).entries
        if not found:
            return None
        told = found[0].json_payload
        return Line(found[0].timestamp, told.milliseconds, told.outcome, told.reasons, told.state)
