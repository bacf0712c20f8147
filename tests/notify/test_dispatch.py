"""Sending to real receivers: each notice once a channel, none in the way of another, everything that failed again later."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from remediate.errors import TransientFault
from remediate.notify import cards
from remediate.notify.interface import DeliveryFailed
from remediate.notify.webhook import Webhook
from remediate.records.outbox import GIVEN_UP_AFTER, LEASE
from remediate.records.results import Limits
from tests.firestore_fixture import EACH_LEDGER
from tests.notify.receivers import TOKEN, Receiver, dead_port, receiving, silent_port
from tests.notify.scene import REVIEWER, Scene, many
from tests.pubsub_fixture import PubSub


@pytest.fixture
def slack() -> Iterator[Receiver]:
    with receiving(Receiver()) as receiver:
        yield receiver


@pytest.fixture
def chat() -> Iterator[Receiver]:
    with receiving(Receiver()) as receiver:
        yield receiver


def test_every_channel_gets_every_notice_once(ledger_url: str, slack: Receiver, chat: Receiver, pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    webhooks = {"REMEDIATE_SLACK_WEBHOOK": slack.url, "REMEDIATE_CHAT_WEBHOOK": chat.url}
    scene = Scene(ledger_url, webhooks | pubsub.env, REMEDIATE_NOTIFY_TOPIC=topic)
    records = scene.denied()
    for _ in range(3):
        scene.sweep()
    assert (len(slack.posts), len(chat.posts)) == (2, 2)
    received = pubsub.pull(subscription)
    assert sorted(attributes["id"] for _, attributes in received) == sorted(f"{each.id}.1.proposed" for each in records)
    for body, attributes in received:
        notice = json.loads(body)
        assert attributes == {"schema": "1"} | {name: notice[name] for name in ("id", "kind", "remediation")}
    assert all(each.fault == "" for each in scene.heard.deliveries)


def test_a_dead_channel_keeps_no_other_waiting_and_is_tried_again(ledger_url: str, chat: Receiver) -> None:
    port = dead_port()
    scene = Scene(
        ledger_url, REMEDIATE_SLACK_WEBHOOK=f"http://127.0.0.1:{port}/{TOKEN}", REMEDIATE_CHAT_WEBHOOK=chat.url
    )
    scene.denied()
    scene.sweep()
    assert len(chat.posts) == 2
    faults = [each for each in scene.heard.deliveries if each.fault]
    assert [(each.channel, each.fault) for each in faults] == [("slack", "slack: no answer (ConnectionRefusedError)")]
    scene.sweep()  # at the same moment: the one that failed is not due yet, the other is tried
    assert len([each for each in scene.heard.deliveries if each.fault]) == 2
    scene.environ["REMEDIATE_SLACK_WEBHOOK"] = chat.url
    scene.notifier = scene.instance()
    scene.pass_time(minutes=1)
    scene.sweep()
    assert len(chat.posts) == 4


@pytest.mark.slow
def test_a_webhook_that_never_answers_ends_a_sweep_in_bounded_time(tmp_path: Path, chat: Receiver) -> None:
    with silent_port() as port:
        silent = f"http://127.0.0.1:{port}/{TOKEN}"
        scene = Scene(
            f"sqlite:///{tmp_path / 'ledger.db'}", REMEDIATE_SLACK_WEBHOOK=silent, REMEDIATE_CHAT_WEBHOOK=chat.url
        )
        many(scene, 5)
        assert scene.notifier
        started = time.monotonic()
        done = scene.notifier.deliver(1.5)
        assert time.monotonic() - started < 4.5  # its time-out is five seconds
        assert len(chat.posts) == 5
        assert [each.fault for each in done if each.fault] == ["slack: not finished after 1.5 seconds"]
        started = time.monotonic()
        scene.pass_time(minutes=5)
        scene.notifier.deliver(20)
        assert time.monotonic() - started < 9.5  # one time-out, and then nothing else is tried
    assert "slack: no answer (TimeoutError)" in {each.fault for each in scene.heard.deliveries}


def test_people_are_not_asked_what_was_decided_meanwhile_and_machines_hear_of_everything(
    tmp_path: Path, slack: Receiver, pubsub: PubSub
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    scene = Scene(ledger, pubsub.env, REMEDIATE_SLACK_WEBHOOK=slack.url, REMEDIATE_NOTIFY_TOPIC=topic)
    [record] = scene.denied_at_home()
    scene.remediator.reject(record.id, actor=REVIEWER, note="no")
    scene.sweep()
    assert slack.posts == []
    assert scene.waiting("slack") == []
    assert [attributes["id"] for _, attributes in pubsub.pull(subscription)] == [f"{record.id}.1.proposed"]


@pytest.mark.parametrize("status", [500, 503, 429, 404, 400, 302])
def test_what_a_webhook_did_not_take_is_sent_again_and_no_more_than_once(
    tmp_path: Path, slack: Receiver, status: int
) -> None:
    slack.answers = [status]
    slack.headers = {"Location": slack.url} if status == 302 else {}
    scene = Scene(f"sqlite:///{tmp_path / 'ledger.db'}", REMEDIATE_SLACK_WEBHOOK=slack.url)
    scene.denied_at_home()
    assert [each.fault for each in scene.sweep()] == [f"slack: HTTP {status}"]
    assert (slack.requests, slack.posts) == (1, [])
    for _ in range(4):
        scene.pass_time(minutes=1)
        scene.sweep()
    assert (slack.requests, len(slack.posts)) == (2, 1)


def test_a_receiver_that_asks_for_patience_gets_it(tmp_path: Path, slack: Receiver) -> None:
    slack.answers, slack.headers = [429], {"Retry-After": "1800"}
    scene = Scene(f"sqlite:///{tmp_path / 'ledger.db'}", REMEDIATE_SLACK_WEBHOOK=slack.url)
    scene.denied_at_home()
    scene.sweep()
    scene.pass_time(minutes=29)
    scene.sweep()
    assert slack.requests == 1
    scene.pass_time(minutes=2)
    scene.sweep()
    assert (slack.requests, len(slack.posts)) == (2, 1)


def test_one_notice_that_is_not_taken_keeps_no_other_waiting(tmp_path: Path, slack: Receiver) -> None:
    slack.answers = [400]
    scene = Scene(f"sqlite:///{tmp_path / 'ledger.db'}", REMEDIATE_SLACK_WEBHOOK=slack.url)
    many(scene, 3)
    scene.sweep()
    assert (slack.requests, len(slack.posts)) == (3, 2)


def test_many_at_once_are_one_digest_for_people_and_a_message_each_for_machines(
    ledger_url: str, slack: Receiver, chat: Receiver, pubsub: PubSub
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    webhooks = {"REMEDIATE_SLACK_WEBHOOK": slack.url, "REMEDIATE_CHAT_WEBHOOK": chat.url}
    scene = Scene(ledger_url, webhooks | pubsub.env, REMEDIATE_NOTIFY_TOPIC=topic)
    many(scene, 6)
    scene.sweep()
    assert (len(slack.posts), len(chat.posts)) == (1, 1)
    assert slack.posts[0]["text"] == "6 notices: 6 proposal opened"
    assert len(pubsub.pull(subscription)) == 6
    many(scene, 8)  # the first six are known
    scene.sweep()
    assert (len(slack.posts), len(chat.posts)) == (3, 3)
    assert len(pubsub.pull(subscription)) == 2


@EACH_LEDGER
def test_two_sweeps_at_once_send_each_notice_once(ledger_url: str, slack: Receiver) -> None:
    slack.delay = 0.05
    scene = Scene(ledger_url, REMEDIATE_SLACK_WEBHOOK=slack.url)
    many(scene, 5)
    instances = [scene.instance() for _ in range(4)]
    start = threading.Barrier(4)

    def deliver(number: int) -> None:
        start.wait(10)
        instance = instances[number]
        assert instance
        instance.deliver(20)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(deliver, range(4)))
    texts = [json.dumps(post) for post in slack.posts]
    assert sum(text.count(f"deployer-{number}@shop") > 0 for number in range(5) for text in texts) == 5


def test_who_dies_between_claim_and_send_is_followed_by_the_next_once_the_lease_is_over(
    ledger_url: str, slack: Receiver
) -> None:
    scene = Scene(ledger_url, REMEDIATE_SLACK_WEBHOOK=slack.url)
    scene.denied_at_home()
    assert scene.notifier
    assert scene.notifier._claimed(scene.waiting("slack"))
    scene.sweep()
    assert slack.requests == 0
    scene.now += LEASE
    scene.sweep()
    scene.sweep()
    assert slack.requests == 1


def test_who_was_frozen_for_longer_than_its_claim_leaves_it_to_the_others(tmp_path: Path, slack: Receiver) -> None:
    scene = Scene(f"sqlite:///{tmp_path / 'ledger.db'}", REMEDIATE_SLACK_WEBHOOK=slack.url)
    scene.denied_at_home()
    assert scene.notifier
    mine = scene.notifier._claimed(scene.waiting("slack"))
    assert scene.notifier._still_mine(mine) == mine
    scene.now += LEASE
    assert scene.notifier._still_mine(mine) == []


def test_a_webhook_of_this_machine_is_never_sent_through_a_proxy(
    slack: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{dead_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    Webhook("slack", slack.url, cards.slack).send([])
    assert slack.requests == 1


def test_what_never_arrives_is_given_up_after_days_and_says_so(tmp_path: Path) -> None:
    scene = Scene(
        f"sqlite:///{tmp_path / 'ledger.db'}", REMEDIATE_SLACK_WEBHOOK=f"http://127.0.0.1:{dead_port()}/{TOKEN}"
    )
    scene.denied_at_home()
    start, attempts = scene.now, 0
    while not any(each.given_up for each in scene.heard.deliveries) and attempts < 200:
        assert scene.notifier
        scene.notifier.deliver(10)
        scene.pass_time(minutes=30)
        attempts += 1
    assert GIVEN_UP_AFTER - timedelta(hours=1) <= scene.now - start <= GIVEN_UP_AFTER + timedelta(hours=1)
    assert scene.heard.deliveries[-1].line()[0] == "ERROR"
    before = len(scene.heard.deliveries)
    scene.pass_time(days=1)
    assert scene.notifier
    scene.notifier.deliver(10)
    assert len(scene.heard.deliveries) == before


def test_a_topic_that_is_not_there_is_told_by_name(tmp_path: Path, pubsub: PubSub) -> None:
    topic = "projects/remediate-test/topics/never-made"
    scene = Scene(f"sqlite:///{tmp_path / 'ledger.db'}", pubsub.env, REMEDIATE_NOTIFY_TOPIC=topic)
    scene.denied_at_home()
    [sending] = scene.sweep()
    assert sending.fault.startswith(f"pubsub: publish to {topic}: 404")


@pytest.mark.slow
def test_a_background_notifier_sends_at_once_and_delays_nobody(tmp_path: Path, slack: Receiver) -> None:
    slack.delay = 3
    scene = Scene(f"sqlite:///{tmp_path / 'ledger.db'}", REMEDIATE_SLACK_WEBHOOK=slack.url)
    scene.remediator._executor._notifier = scene.instance(background=True)
    started = time.monotonic()
    scene.denied_at_home("1")
    assert time.monotonic() - started < 2.5
    slack.wait_for(1)
    slack.delay = 0
    scene.denied_at_home("2", email="bo@example.com")
    assert len(slack.wait_for(2)) == 2


def test_a_burst_in_the_background_ends_in_few_posts_and_loses_nothing(tmp_path: Path, slack: Receiver) -> None:
    slack.delay = 0.3
    limits = Limits(proposals_an_hour=40)
    scene = Scene(f"sqlite:///{tmp_path / 'ledger.db'}", limits=limits, REMEDIATE_SLACK_WEBHOOK=slack.url)
    scene.remediator._executor._notifier = scene.instance(background=True)
    many(scene, 40)
    deadline = time.monotonic() + 15
    while sum(len(each.notices) for each in scene.heard.deliveries) < 40 and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert sum(len(each.notices) for each in scene.heard.deliveries) == 40
    assert len(slack.posts) < 12


def test_a_ledger_that_cannot_answer_is_said_and_ends_nothing(tmp_path: Path, slack: Receiver) -> None:
    scene = Scene(f"sqlite:///{tmp_path / 'ledger.db'}", REMEDIATE_SLACK_WEBHOOK=slack.url)
    scene.denied_at_home()
    assert scene.notifier

    class Away(type(scene.notifier._ledger)):  # type: ignore[misc]  # the class is known only once the test runs
        def waiting(self, *_: object) -> None:
            raise TransientFault("the ledger could not answer: database is locked")

    there, scene.notifier._ledger.__class__ = type(scene.notifier._ledger), Away
    assert [each.fault for each in scene.notifier.deliver(5)] == [
        "slack: the ledger could not answer: database is locked"
    ]
    scene.notifier._ledger.__class__ = there
    scene.notifier.deliver(5)
    assert len(slack.posts) == 1


MALFORMED = [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\nx" + b"y" * 70_000 + b"\r\n\r\n", b""]


@pytest.mark.parametrize("answer", MALFORMED, ids=["no HTTP", "a header too long", "nothing"])
def test_a_malformed_answer_is_a_fault_that_shows_no_url(capfd: pytest.CaptureFixture[str], answer: bytes) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(100_000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        webhook = Webhook("slack", f"http://127.0.0.1:{listening.getsockname()[1]}/{TOKEN}", cards.slack)
        with pytest.raises(DeliveryFailed) as told:
            webhook.send([])
        thread.join(5)
    shown = "".join(capfd.readouterr()) + str(told.value) + repr(told.value) + repr(webhook)
    assert "SECRET" not in shown
