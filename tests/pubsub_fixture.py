"""The Pub/Sub emulator of the Google Cloud SDK for the test session, with topics and subscriptions by REST.

Every test uses new names, so that the tests of a session do not see each other's messages.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulator import running, sdk_file

PROJECT = "remediate-test"
_JAR = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar"


class PubSub:
    """A running emulator. `address` is `HOST:PORT`; with the variables `env`, Google's clients and ours use it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"http://{address}"
        endpoint = f"http://{address}"
        self.env = {"PUBSUB_EMULATOR_HOST": address, "CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB": endpoint}

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of any request, such as `PUT projects/P/topics/T`."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/v1/{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def _made(self, path: str, body: Any) -> str:
        status, answer = self.call("PUT", path, body)
        assert status == 200, answer
        return str(answer["name"])

    def topic(self, name: str = "topic") -> str:
        """The full name of a new topic."""
        return self._made(f"projects/{PROJECT}/topics/{name}-{uuid.uuid4().hex[:8]}", {})

    def subscription(
        self,
        topic: str,
        *,
        push_to: str | None = None,
        dead_letter: str | None = None,
        attempts: int = 5,
        ack_seconds: int = 10,
        **more: Any,
    ) -> str:
        """The full name of a new subscription: pull, or push to a URL.

        `dead_letter`: the topic for messages that were not acknowledged after `attempts` attempts. `more` are further
        fields of the REST resource, such as `retryPolicy={"minimumBackoff": "1s"}`.
        """
        body: dict[str, Any] = {"topic": topic, "ackDeadlineSeconds": ack_seconds, **more}
        if push_to is not None:
            body["pushConfig"] = {"pushEndpoint": push_to}
        if dead_letter is not None:
            body["deadLetterPolicy"] = {"deadLetterTopic": dead_letter, "maxDeliveryAttempts": attempts}
        return self._made(f"projects/{PROJECT}/subscriptions/s-{uuid.uuid4().hex[:8]}", body)

    def publish(self, topic: str, *bodies: bytes, **attributes: str) -> list[str]:
        """Publish these bodies, all with the same attributes; returns the message ids."""
        messages = [{"data": base64.b64encode(body).decode(), "attributes": attributes} for body in bodies]
        status, answer = self.call("POST", f"{topic}:publish", {"messages": messages})
        assert status == 200, answer
        return list(answer["messageIds"])

    def pull(self, subscription: str, limit: int = 100) -> list[tuple[bytes, dict[str, str]]]:
        """Pull and acknowledge the waiting messages: the body and attributes of each."""
        asked = {"maxMessages": limit, "returnImmediately": True}
        status, answer = self.call("POST", f"{subscription}:pull", asked)
        assert status == 200, answer
        received = answer.get("receivedMessages", [])
        if received:
            ids = {"ackIds": [each["ackId"] for each in received]}
            assert self.call("POST", f"{subscription}:acknowledge", ids)[0] == 200
        messages = [each["message"] for each in received]
        return [(base64.b64decode(each.get("data", "")), each.get("attributes", {})) for each in messages]


@pytest.fixture(scope="session")
def pubsub() -> Iterator[PubSub]:
    """A running emulator. Skips the test if the SDK has none."""
    jar = sdk_file(_JAR)
    if jar is None:
        pytest.skip("the Google Cloud SDK's Pub/Sub emulator is not installed")
    with running("-jar", str(jar)) as address:
        yield PubSub(address)
