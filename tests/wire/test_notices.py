"""Notices as they go in production: the function, the pages and `sweep` in processes of their own, receivers over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from remediate.ledger.sqlite import SqliteLedger
from remediate.notify.lanes import LONGEST_WAIT
from tests.audit_entries import activity, push_body, user_text
from tests.notify.receivers import TOKEN, Receiver, dead_port, receiving, silent_port
from tests.pubsub_fixture import PubSub
from tests.review.page import Page
from tests.sandbox_fixture import IMAGE, ROOT, SandboxProcess
from tests.wire.function_fixture import PAGES, Command, FunctionProcess

SAME_IMAGE = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"


@pytest.fixture
def slack() -> Iterator[Receiver]:
    with receiving(Receiver()) as receiver:
        yield receiver


def denial_of(image: str, insert_id: str = "1", **more: Any) -> dict[str, Any]:
    return push_body(activity(user_text(image), images=(image,), insert_id=insert_id, **more))


def unsent(function: FunctionProcess, channel: str = "slack") -> list[str]:
    """The notices that the ledger does not know to be sent, also where a process leased them."""
    return [each.notice.id for each in SqliteLedger(function.ledger_path).waiting(channel, "9999-12-31T00:00:00Z", 100)]


def test_a_function_that_is_frozen_with_its_answer_has_sent_its_notice(
    sandbox_server: SandboxProcess, tmp_path: Path, slack: Receiver
) -> None:
    """A thread that sends after the answer would stand still until the next request."""
    slack.delay = 0.5
    function = FunctionProcess(sandbox_server, tmp_path, REMEDIATE_SLACK_WEBHOOK=slack.url)
    try:
        assert function.push(denial_of(SAME_IMAGE)) == 200
        function.freeze()
        assert len(slack.posts) == 1
        assert unsent(function) == []
        function.thaw()
        [record] = function.records()
        assert record.id in json.dumps(slack.posts)
        [line] = [json.loads(line) for line in function.output if '"channel"' in line]
        assert line["message"] == f"sent to slack: {record.id}.1.proposed"
    finally:
        function.thaw()
        function.close()
    Command(function, REMEDIATE_SLACK_WEBHOOK=slack.url).run("sweep")
    assert len(slack.posts) == 1


def test_pages_that_are_frozen_with_their_answer_have_sent_their_notice(
    sandbox_server: SandboxProcess, tmp_path: Path, slack: Receiver
) -> None:
    slack.delay = 0.5
    page = Page(sandbox_server, tmp_path, REMEDIATE_SLACK_WEBHOOK=slack.url)
    try:
        record = page.denied()
        form = {"token": page.token(), "content": page.content(record.id), "lasts": "30d"}
        assert page.ask(f"/r/{record.id}/approve", form)[0] == 303
        page.function.freeze()
        assert len(slack.posts) == 1
        assert unsent(page.function) == []
    finally:
        page.function.thaw()
        page.function.close()


def test_a_webhook_that_hangs_delays_an_event_by_the_bound_and_the_next_not_at_all(
    sandbox_server: SandboxProcess, tmp_path: Path
) -> None:
    with silent_port() as port:
        hangs = f"http://127.0.0.1:{port}/{TOKEN}"
        function = FunctionProcess(sandbox_server, tmp_path, REMEDIATE_SLACK_WEBHOOK=hangs)
        took = []
        try:
            assert function.push(denial_of("nothing that was ever pushed", "warm")) == 200
            for number in range(3):
                started = time.monotonic()
                assert function.push(denial_of(SAME_IMAGE, str(number), email=f"ana-{number}@example.com")) == 200
                took.append(time.monotonic() - started)
        finally:
            function.kill()
    assert LONGEST_WAIT <= took[0] < LONGEST_WAIT + 2  # the webhook's own time-out is five seconds
    assert max(took[1:]) < LONGEST_WAIT


def test_a_webhook_that_never_answers_delays_no_event_for_long_and_no_other_channel(
    sandbox_server: SandboxProcess, tmp_path: Path, slack: Receiver
) -> None:
    with silent_port() as port:
        function = FunctionProcess(
            sandbox_server,
            tmp_path,
            REMEDIATE_MODE="enforce",
            REMEDIATE_SLACK_WEBHOOK=f"http://127.0.0.1:{port}/{TOKEN}",
            REMEDIATE_CHAT_WEBHOOK=slack.url,
        )
        try:
            assert (
                function.push(denial_of(SAME_IMAGE, "warm", email="warm@shop-frontend.iam.gserviceaccount.com")) == 200
            )
            for number in range(3):
                started = time.monotonic()
                assert function.push(denial_of(IMAGE, str(number), email=f"deployer-{number}@example.com")) == 200
                assert time.monotonic() - started < 4.5  # the webhook's time-out is five seconds
            slack.wait_for(2)
            deadline = time.monotonic() + 15
            while not any("TimeoutError" in line for line in function.output) and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            function.close()
    lines = [json.loads(line) for line in function.output if line.startswith("{")]
    [unsent, *_] = [line for line in lines if line.get("channel") == "slack"]
    assert (unsent["severity"], "TimeoutError" in unsent["message"]) == ("WARNING", True)
    assert any(line.get("channel") == "chat" and line["severity"] == "INFO" for line in lines)
    assert "SECRET" not in "\n".join(function.output)


def test_what_the_function_could_not_send_a_sweep_sends_once_however_many_run(
    sandbox_server: SandboxProcess, tmp_path: Path, slack: Receiver
) -> None:
    dead = f"http://127.0.0.1:{dead_port()}/{TOKEN}"
    function = FunctionProcess(sandbox_server, tmp_path, REMEDIATE_SLACK_WEBHOOK=dead)
    try:
        assert function.push(denial_of(IMAGE)) == 200
    finally:
        function.close()
    assert "SECRET" not in "\n".join(function.output)
    failing = Command(function, REMEDIATE_SLACK_WEBHOOK=dead)
    later = ("--as-of", f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + 600))}")
    told = failing.run("sweep", *later)  # exit code 0: a notice that is not sent is no fault of the sweep
    assert '"severity":"WARNING"' in told
    assert "slack: no answer (ConnectionRefusedError)" in told
    assert "SECRET" not in told
    slack.delay = 0.3
    working = Command(function, REMEDIATE_SLACK_WEBHOOK=slack.url, REMEDIATE_REVIEW_URL=PAGES)
    much_later = ("--as-of", f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + 7200))}")
    with ThreadPoolExecutor(3) as pool:
        kinds = ((), ("--due",), ("--due",))  # two of a kind do not run at the same time
        outputs = list(pool.map(lambda kind: working.run("sweep", *kind, *much_later), kinds))
    assert len(slack.posts) == 2
    assert "".join(outputs).count("sent to slack") == 2


def test_a_grant_by_command_is_told_with_the_link_and_when_to_deploy_again(
    sandbox_server: SandboxProcess, tmp_path: Path, slack: Receiver, pubsub: PubSub
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    function = FunctionProcess(sandbox_server, tmp_path)  # without any channel: nothing is stored of the proposals
    try:
        assert function.push(denial_of(IMAGE)) == 200
        deployer, agent = sorted(function.records(), key=lambda record: -record.tally.denials)
    finally:
        function.close()
    channels = {"REMEDIATE_SLACK_WEBHOOK": slack.url, "REMEDIATE_NOTIFY_TOPIC": topic, "REMEDIATE_REVIEW_URL": PAGES}
    command = Command(function, **channels, **pubsub.env)
    command.run("approve", deployer.id, agent.id, "--as", "ana@example.com")
    text = json.dumps(slack.wait_for(2))
    assert f"<{PAGES}/r/{agent.id}|Open the remediation>" in text
    assert f"the same deploy also needs {agent.id} (proposed)" in text
    assert "IAM usually needs 2 minutes, sometimes 7 or more" in text
    received = {attributes["id"]: json.loads(body) for body, attributes in pubsub.pull(subscription)}
    assert sorted(received) == sorted(f"{each.id}.1.granted" for each in (deployer, agent))
    assert received[f"{agent.id}.1.granted"]["retry_from"]
    slack.posts.clear()
    command.run("sweep")
    assert (slack.posts, pubsub.pull(subscription)) == ([], [])


def test_a_grant_on_the_pages_is_told_too_and_the_page_does_not_wait_for_a_slow_channel(
    sandbox_server: SandboxProcess, tmp_path: Path, slack: Receiver
) -> None:
    slack.delay = 4
    page = Page(sandbox_server, tmp_path, REMEDIATE_SLACK_WEBHOOK=slack.url, REMEDIATE_REVIEW_URL=PAGES)
    try:
        record = page.denied()
        content = page.content(record.id)
        token = page.token()
        started = time.monotonic()
        assert page.ask(f"/r/{record.id}/approve", {"token": token, "content": content, "lasts": "30d"})[0] == 303
        assert time.monotonic() - started < 3.5
        [post] = slack.wait_for(1)
        assert post["text"].startswith("Granted: github-deployer@shop-frontend.iam.gserviceaccount.com can read")
    finally:
        page.function.close()


@pytest.mark.parametrize("name", ["REMEDIATE_SLACK_WEBHOOK", "REMEDIATE_CHAT_WEBHOOK"])
def test_a_webhook_that_is_not_accepted_stops_the_start_without_being_shown(name: str) -> None:
    environ = {"PATH": os.environ["PATH"], name: f"https://evil.example/{TOKEN}"}
    done = subprocess.run(
        [sys.executable, "-c", "import main"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert f"{name}=...: expected https://" in done.stderr
    assert "SECRET" not in done.stdout + done.stderr
