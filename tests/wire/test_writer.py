"""The pages and the writer in processes of their own: the page records, a message by Pub/Sub wakes the writer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from remediate.records.remediation import Remediation
from tests.pubsub_fixture import PROJECT, PubSub
from tests.review.page import Page
from tests.sandbox_fixture import DEPLOYER, SandboxProcess
from tests.wire.function_fixture import Command, FunctionProcess

NOWHERE = f"projects/{PROJECT}/topics/no-such-topic"


@pytest.fixture
def writer(sandbox_server: SandboxProcess, tmp_path: Path) -> Iterator[FunctionProcess]:
    process = FunctionProcess(sandbox_server, tmp_path, target="carry_out")
    yield process
    process.close()


def pages(sandbox: SandboxProcess, folder: Path, pubsub: PubSub, topic: str) -> Page:
    return Page(sandbox, folder, REMEDIATE_WRITER_TOPIC=topic, **pubsub.env)


def state(page: Page, record: Remediation) -> str:
    return next(str(each.state) for each in page.function.records() if each.id == record.id)


def decided(page: Page, record: Remediation, verb: str = "approve", **form: str) -> str:
    """The page after a decision."""
    shown = {"content": page.content(record.id)} if verb == "approve" else {}
    status, answer = page.say(f"/r/{record.id}/{verb}", **shown, **form)
    assert status == 303, answer
    return page.ask(f"/r/{record.id}")[1]


def test_an_approval_on_a_page_is_granted_by_the_writer_and_shown(
    sandbox_server: SandboxProcess, tmp_path: Path, pubsub: PubSub, writer: FunctionProcess
) -> None:
    topic = pubsub.topic("approvals")
    pubsub.subscription(topic, push_to=writer.url)
    page = pages(sandbox_server, tmp_path, pubsub, topic)
    try:
        record = page.denied()
        text = decided(page, record, lasts="30d")
        assert "<strong>Granted" in text
        assert DEPLOYER in sandbox_server.readers()
        assert not [line for line in page.function.output if '"state": "granted"' in line or "-> granted" in line]
        assert [line for line in writer.output if "approved -> granted" in line]
        text = decided(page, record, "revoke", reason="over")
        assert DEPLOYER not in sandbox_server.readers()
        assert state(page, record) == "revoked"
    finally:
        page.function.close()


def test_without_a_message_the_page_says_that_it_is_recorded_and_the_sweep_does_it(
    sandbox_server: SandboxProcess, tmp_path: Path, pubsub: PubSub
) -> None:
    page = pages(sandbox_server, tmp_path, pubsub, NOWHERE)
    try:
        record = page.denied()
        text = decided(page, record, lasts="30d")
        assert "<strong>Approval recorded.</strong>" in text
        assert (state(page, record), sandbox_server.requests(":setIamPolicy")) == ("approved", 0)
        [line] = [json.loads(line) for line in page.function.output if "the writer was not woken" in line]
        assert line["severity"] == "ERROR"
        Command(page.function).run("sweep", "--due")
        assert (state(page, record), DEPLOYER in sandbox_server.readers()) == ("granted", True)
    finally:
        page.function.close()


def test_a_writer_that_is_killed_goes_on_when_the_message_comes_again(
    sandbox_server: SandboxProcess, tmp_path: Path, pubsub: PubSub, writer: FunctionProcess
) -> None:
    page = pages(sandbox_server, tmp_path, pubsub, NOWHERE)
    try:
        record = page.denied()
        decided(page, record)
        sandbox_server.faults({"match": ":setIamPolicy", "effect": "status", "code": 503, "times": None})
        assert writer.post(push(record.id), logged=False) == 503
        writer.kill()
        sandbox_server.faults()
        again = FunctionProcess(sandbox_server, tmp_path, target="carry_out")
        try:
            assert [again.post(push(record.id), logged=False) for _ in range(2)] == [204, 204]
        finally:
            again.close()
        assert sandbox_server.readers().count(DEPLOYER) == 1
        assert state(page, record) == "granted"
    finally:
        page.function.close()


def push(ident: str) -> dict[str, object]:
    return {"message": {"attributes": {"remediation": ident}, "messageId": "1"}, "subscription": "s"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"message": {"attributes": {"remediation": 5}}}',
        b'{"message": {"data": "eA=="}}',
        b"[" * 5000,
    ],
)
def test_what_is_no_wake_up_ends_without_a_trace(writer: FunctionProcess, body: bytes) -> None:
    assert writer.post(body, logged=False) == 204
    assert "Traceback" not in "".join(writer.output)


@pytest.mark.parametrize("ident", ["", "r-000000000000", "../../x", "x" * 5000, "\x00", "r-\ud800"])
def test_a_wake_up_for_what_is_not_there_ends_without_a_write(
    sandbox_server: SandboxProcess, writer: FunctionProcess, ident: str
) -> None:
    assert writer.post(push(ident), logged=False) == 204
    assert sandbox_server.requests(":setIamPolicy") == 0
    assert not [line for line in writer.output if re.search("Traceback|x{100}", line)]


def test_a_command_hands_over_too_and_says_so(
    sandbox_server: SandboxProcess, tmp_path: Path, pubsub: PubSub, writer: FunctionProcess
) -> None:
    topic = pubsub.topic("approvals")
    pubsub.subscription(topic, push_to=writer.url)
    page = Page(sandbox_server, tmp_path)
    try:
        record = page.denied()
        lost = Command(page.function, REMEDIATE_WRITER_TOPIC=NOWHERE, **pubsub.env)
        told = lost.run("approve", record.id, "--as", "ana@example.com")
        assert f"{record.id}  approved; the writer makes the grant within minutes: remediate show {record.id}" in told
        assert DEPLOYER not in sandbox_server.readers()
        woken = Command(page.function, REMEDIATE_WRITER_TOPIC=topic, **pubsub.env)
        assert f"{record.id}  granted: " in woken.run("approve", record.id, "--as", "ana@example.com")
        assert f"{record.id}  revoked: " in woken.run(
            "revoke", record.id, "--reason", "over", "--as", "ana@example.com"
        )
        assert DEPLOYER not in sandbox_server.readers()
    finally:
        page.function.close()
