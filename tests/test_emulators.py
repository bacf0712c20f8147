"""The Pub/Sub emulator as our fixture drives it does what the service's tests count on."""

from __future__ import annotations

from tests.pubsub_fixture import PubSub


def test_what_is_published_is_pulled_once_with_its_attributes(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"one", b"two", kind="granted")
    assert sorted(pubsub.pull(subscription)) == [(b"one", {"kind": "granted"}), (b"two", {"kind": "granted"})]
    assert pubsub.pull(subscription) == []
