"""Publishes a synthetic denial, and finds the receiver's log line about it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from remediate.cloud.rest import get, post
from remediate.decoding import decode_json
from remediate.doctor.canary import ReceiverLogLine
from remediate.doctor.names import ResourceNames
from remediate.errors import Missing
from remediate.times import to_rfc3339

_PUBSUB, _LOGGING = "https://pubsub.googleapis.com", "https://logging.googleapis.com"
_SKEW = timedelta(minutes=5)  # this machine's clock may be ahead of Google's
_REGISTRY = "https://artifactregistry.googleapis.com"


class _LinePayload(msgspec.Struct):
    milliseconds: float = 0.0
    outcome: str = ""
    reasons: tuple[str, ...] = ()
    state: str | None = None


class _LogLine(msgspec.Struct, rename="camel"):
    timestamp: datetime
    json_payload: _LinePayload = msgspec.field(default_factory=_LinePayload)


class _LogLines(msgspec.Struct):
    entries: list[_LogLine] = []


class CanaryDelivery:
    """Google Cloud as the synthetic denial sees it. `endpoints` override Google's addresses; `timeout`: seconds."""

    def __init__(self, names: ResourceNames, endpoints: Mapping[str, str], timeout: float) -> None:
        self._names = names
        self._endpoint = endpoints.get
        self._timeout = timeout

    def is_free(self, repository: str) -> bool:
        """The repository does not exist. Raises TerminalFault or TransientFault where that cannot be read."""
        try:
            get(
                f"{self._endpoint('ARTIFACTREGISTRY', _REGISTRY)}/v1/{repository}",
                self._timeout,
                f"get {repository}",
            )
        except Missing:
            return True
        return False

    def publish(self, entry: bytes) -> None:
        """Publish an entry to the sinks' topic as a sink does. Raises as `is_free` does."""
        message = {"data": base64.b64encode(entry + b"\n").decode(), "attributes": {"synthetic": "remediate-doctor"}}
        url = f"{self._endpoint('PUBSUB', _PUBSUB)}/v1/{self._names.topic}:publish"
        post(url, {"messages": [message]}, self._timeout, f"publish to {self._names.topic}")

    def find_line(self, insert_id: str, since: datetime) -> ReceiverLogLine | None:
        """The receiver's log line about the entry. Raises as `is_free` does."""
        wanted = (
            f'resource.type="cloud_run_revision" resource.labels.service_name="{self._names.name}-receiver" '
            f'timestamp>="{to_rfc3339(since - _SKEW)}" jsonPayload.insert_id="{insert_id}" jsonPayload.outcome:*'
        )
        body: dict[str, object] = {"resourceNames": [self._names.project_path], "filter": wanted, "pageSize": 1}
        url = f"{self._endpoint('LOGGING', _LOGGING)}/v2/entries:list"
        answer = post(url, body, self._timeout, "list the receiver's log")
        found = decode_json(answer, _LogLines).entries
        if not found:
            return None
        entry, line = found[0], found[0].json_payload
        return ReceiverLogLine(entry.timestamp, line.milliseconds, line.outcome, line.reasons, line.state)
