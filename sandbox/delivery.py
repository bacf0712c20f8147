"""Pushes written log entries to subscribers as Pub/Sub does for an organization sink, at least once.

Sources: "Push subscriptions" (Pub/Sub) and "CloudEvents - HTTP event format" (Eventarc).
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sandbox.logfilter import compile_filter

TOPIC = "projects/remediate-ops/topics/image-denials"
SINK = (
    '(log_id("cloudaudit.googleapis.com/activity") OR log_id("cloudaudit.googleapis.com/system_event"))'
    ' AND protoPayload.serviceName="run.googleapis.com"'
)
"""The default filter of the sandbox's sink: every entry of Cloud Run in the two audit logs."""

_ACKNOWLEDGED = range(200, 300)
_TIMEOUT = 60.0  # seconds


@dataclass
class Subscriber:
    """A push endpoint. Delays are in seconds; real Pub/Sub waits 10 to 600."""

    url: str
    filter: str = SINK
    first_delay: float = 0.5
    longest_delay: float = 10.0


@dataclass
class Delivery:
    """One message: the number of attempts, and the status of the last answer (None: no answer)."""

    message_id: str
    insert_id: str
    url: str
    attempts: int = 0
    status: int | None = None
    done: bool = False


@dataclass
class Delivering:
    """Pushes messages in the background until each is acknowledged or the sandbox closes."""

    subscribers: list[Subscriber] = field(default_factory=list)
    log: list[Delivery] = field(default_factory=list)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16, "delivery"))
    _closing: threading.Event = field(default_factory=threading.Event)
    _quiet: threading.Condition = field(default_factory=threading.Condition)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def send(self, entry: dict[str, Any]) -> None:
        """Push the entry to every subscriber whose filter matches it."""
        for subscriber in self.subscribers:
            if compile_filter(subscriber.filter)(entry):
                delivery = Delivery(str(next(self._numbers)), entry["insertId"], subscriber.url)
                self.log.append(delivery)
                self._pool.submit(self._push, subscriber, delivery, json.dumps(entry).encode() + b"\n", entry)

    def publish(self, data: bytes, topic: str, *, heard: bool) -> str:
        """Push a published message to every subscriber, ignoring filters, if a trigger listens (`heard`)."""
        moment = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        message_id = str(next(self._numbers))
        for subscriber in self.subscribers if heard else ():
            delivery = Delivery(message_id, topic, subscriber.url)
            self.log.append(delivery)
            self._pool.submit(self._push, subscriber, delivery, data, {"timestamp": moment, "receiveTimestamp": moment})
        return message_id

    def drain(self, timeout: float) -> bool:
        """Wait until every message is acknowledged; False after `timeout` seconds."""
        with self._quiet:
            return self._quiet.wait_for(lambda: all(delivery.done for delivery in self.log), timeout)

    def close(self) -> None:
        """Stop pushing and drop messages that are not acknowledged."""
        self._closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _push(self, subscriber: Subscriber, delivery: Delivery, data: bytes, entry: dict[str, Any]) -> None:
        delay = subscriber.first_delay
        while not self._closing.is_set():
            delivery.attempts += 1
            delivery.status = _post(subscriber.url, _headers(delivery), _body(delivery, data, entry))
            if delivery.status in _ACKNOWLEDGED:
                with self._quiet:
                    delivery.done = True
                    self._quiet.notify_all()
                return
            self._closing.wait(delay)
            delay = min(delay * 2, subscriber.longest_delay)


def _headers(delivery: Delivery) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "ce-id": delivery.message_id,
        "ce-source": f"//pubsub.googleapis.com/{TOPIC}",
        "ce-specversion": "1.0",
        "ce-type": "google.cloud.pubsub.topic.v1.messagePublished",
        "traceparent": f"00-{int(delivery.message_id):032x}-{delivery.attempts:016x}-01",
    }


def _body(delivery: Delivery, data: bytes, entry: dict[str, Any]) -> bytes:
    message = {
        "data": base64.b64encode(data).decode(),
        "attributes": {"logging.googleapis.com/timestamp": entry["timestamp"]},
        "messageId": delivery.message_id,
        "publishTime": entry["receiveTimestamp"],
    }
    subscription = "projects/remediate-ops/subscriptions/eventarc-image-denials"
    return json.dumps({"subscription": subscription, "message": message, "deliveryAttempt": delivery.attempts}).encode()


def _post(url: str, headers: dict[str, str], body: bytes) -> int | None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=_TIMEOUT)
    try:
        connection.request("POST", parts.path or "/", body, headers)
        response = connection.getresponse()
        response.read()
        return response.status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
