"""What wakes the writer: a message that names a remediation, and nothing else."""

from __future__ import annotations

import json

import pytest

from remediate.cloud.wake_up import WakeUps, woken_for
from tests.notify.receivers import Receiver, receiving

IDENT = "r-0123456789ab"


def test_a_message_names_the_remediation_and_says_nothing_else() -> None:
    with receiving(Receiver()) as topic:
        WakeUps("projects/p/topics/t", topic.url.rstrip("/"), failed=pytest.fail).wake(IDENT)
        [body] = topic.posts
    assert body == {"messages": [{"attributes": {"remediation": IDENT}}]}
    assert woken_for(json.dumps({"message": body["messages"][0], "subscription": "s"}).encode()) == IDENT


def test_after_a_failure_it_waits_a_minute_before_the_next_try_and_raises_nothing() -> None:
    """Fifty approvals together must not wait for fifty time-outs."""
    now, told = [0.0], list[str]()
    with receiving(Receiver(answers=[403])) as topic:
        waking = WakeUps("projects/p/topics/t", topic.url, told.append, monotonic=lambda: now[0])
        for _ in range(50):
            waking.wake(IDENT)
        assert (topic.requests, len(told)) == (1, 1)
        assert IDENT in told[0]
        now[0] += 61
        waking.wake(IDENT)
        assert (len(topic.posts), len(told)) == (1, 1)


@pytest.mark.parametrize(
    "ident",
    ["", "x", "r-0123456789aB", "r-0123456789abc", "../../settings/schema", "r-0123456789ab\n", "r-" + "0" * 5000],
)
def test_what_no_remediation_is_called_wakes_nobody(ident: str) -> None:
    assert woken_for(json.dumps({"message": {"attributes": {"remediation": ident}}}).encode()) is None
