"""The wait before an answer: until what was stored is sent, for a short time, and not for a channel that failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from remediate.notify.lanes import PAUSE, Lanes
from remediate.records.delivery import DeliveryResult

Heard = Callable[[DeliveryResult], None]
ARRIVED, FAILED = DeliveryResult("slack", ("1",)), DeliveryResult("slack", ("1",), "slack: HTTP 500")


class Channel:
    """A channel whose posts end when the test says so."""

    def __init__(self, result: DeliveryResult = ARRIVED) -> None:
        self.result = result
        self.answers = threading.Event()
        self.done = threading.Semaphore(0)
        self.turns = 0
        self.began = threading.Event()

    def send(self, heard: Heard) -> None:
        self.turns += 1
        self.began.set()
        assert self.answers.wait(30)
        heard(self.result)
        self.done.release()


class Scene:
    """Lanes at one moment, `now`."""

    def __init__(self, **channels: Channel) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)
        self.lanes = Lanes({name: each.send for name, each in channels.items()}, lambda: self.now)

    def waited(self, seconds: float = 30) -> float:
        """How long a wait took."""
        started = time.monotonic()
        self.lanes.wait(seconds)
        return time.monotonic() - started


@pytest.fixture
def slow() -> Channel:
    return Channel()


@pytest.fixture
def fast() -> Channel:
    channel = Channel()
    channel.answers.set()
    return channel


def until_one_waits(scene: Scene) -> None:
    while not scene.lanes._turn.locked():
        threading.Event().wait(0.01)


def test_an_answer_waits_until_what_was_stored_is_sent(slow: Channel) -> None:
    scene = Scene(slack=slow)
    scene.lanes.flush()
    threading.Timer(0.3, slow.answers.set).start()
    assert 0.2 < scene.waited() < 20
    assert slow.done.acquire(blocking=False)


def test_where_nothing_was_stored_no_answer_waits(slow: Channel) -> None:
    assert Scene(slack=slow).waited() < 5
    assert slow.turns == 0


def test_a_channel_that_hangs_delays_one_answer_by_the_bound_and_the_next_not_at_all(
    slow: Channel, fast: Channel
) -> None:
    scene = Scene(slack=slow, chat=fast)
    scene.lanes.flush()
    assert 0.2 <= scene.waited(0.2) < 10
    scene.lanes.flush()
    assert scene.waited() < 5
    assert fast.done.acquire(timeout=10)
    assert fast.done.acquire(timeout=10)  # the other channel is waited for as before
    scene.now += PAUSE - timedelta(seconds=1)
    assert scene.waited() < 5
    scene.now += timedelta(seconds=1)
    assert 0.2 <= scene.waited(0.2) < 10
    slow.answers.set()


def test_a_channel_that_fails_is_not_waited_for_until_the_pause_is_over(slow: Channel) -> None:
    slow.result = FAILED
    slow.answers.set()
    scene = Scene(slack=slow)
    scene.lanes.flush()
    assert scene.waited() < 20
    assert slow.done.acquire(timeout=10)
    slow.answers.clear()
    scene.lanes.flush()
    assert scene.waited() < 5
    scene.now += PAUSE
    assert 0.2 <= scene.waited(0.2) < 10
    slow.answers.set()


def test_a_channel_that_takes_many_posts_is_not_taken_for_one_that_hangs() -> None:
    first, last = threading.Event(), threading.Event()

    def send(heard: Heard) -> None:
        assert first.wait(30)
        heard(ARRIVED)
        assert last.wait(30)

    scene = Scene()
    hangs = Channel()
    scene.lanes = Lanes({"pubsub": hangs.send, "slack": send}, lambda: scene.now)
    scene.lanes.flush()
    waiting = threading.Thread(target=scene.lanes.wait, args=(0.5,))
    waiting.start()
    until_one_waits(scene)
    threading.Event().wait(0.1)
    first.set()
    waiting.join(20)
    assert 0.2 <= scene.waited(0.2) < 10  # for the one that takes posts, and not for the other
    hangs.answers.set()
    last.set()


def test_of_many_answers_in_a_storm_one_waits_for_all(slow: Channel) -> None:
    scene = Scene(slack=slow)
    scene.lanes.flush()
    first = threading.Thread(target=scene.lanes.wait, args=(30,))
    first.start()
    until_one_waits(scene)
    assert slow.began.wait(30)
    assert scene.waited() < 5
    scene.lanes.flush()  # what the second stored, after the first post began
    assert scene.waited() < 5
    slow.answers.set()
    first.join(20)
    assert not first.is_alive()
    assert slow.turns == 2
