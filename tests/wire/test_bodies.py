"""Bodies of any size, in chunks or not: pages hold 64 KiB of one at most, and an event is answered as ever."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audit_entries import push_body
from tests.sandbox_fixture import SandboxProcess
from tests.wire.function_fixture import AUDIT_TYPE, FunctionProcess, same_project

LARGE = 300  # megabytes
BLOCK = b"x" * (1 << 20)
EVENT = {"ce-type": AUDIT_TYPE, "ce-id": "1", "ce-source": "//x", "ce-specversion": "1.0"}


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionProcess]:
    folder = tmp_path_factory.mktemp("review")
    function = FunctionProcess(None, folder, target="review", REMEDIATE_LOCAL_REVIEWER="lead@example.com")
    yield function
    function.close()


@pytest.fixture
def receiver(sandbox_server: SandboxProcess, tmp_path: Path) -> Iterator[FunctionProcess]:
    function = FunctionProcess(sandbox_server, tmp_path)
    yield function
    function.close()


def memory(function: FunctionProcess) -> int:
    """The most that the server and its workers have held at any time, in megabytes."""
    processes = [function.process.pid]
    for process in processes:
        with contextlib.suppress(FileNotFoundError):
            processes += map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())
    held = 0
    for process in processes:
        [line] = [each for each in Path(f"/proc/{process}/status").read_text().splitlines() if "VmHWM" in each]
        held += int(line.split()[1])
    return held // 1024


def send(function: FunctionProcess, method: str, path: str, blocks: Iterator[bytes], **headers: str) -> int:
    """The status of a request whose body is sent block by block, as far as the server takes it."""
    named = {"Host": f"127.0.0.1:{function.port}"} | {name.replace("_", "-"): text for name, text in headers.items()}
    chunked = "Content-Length" not in named
    if chunked:
        named["Transfer-Encoding"] = "chunked"
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in named.items()), "", ""]
    with socket.create_connection(("127.0.0.1", function.port), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode())
        with contextlib.suppress(ConnectionError):  # it need not listen to the end
            for block in blocks:
                connection.sendall(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
            connection.sendall(b"0\r\n\r\n" if chunked else b"")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status


@pytest.mark.parametrize(
    ("method", "path", "headers", "code"),
    [
        ("POST", "/approve", {}, 413),
        ("POST", "/approve", {"Content_Type": "application/x-www-form-urlencoded"}, 413),
        ("POST", "/approve", {"Content_Type": "multipart/form-data; boundary=x"}, 413),
        ("POST", "/mode", {"Content_Length": str(LARGE << 20)}, 413),
        ("POST", "/approve", {"Host": "evil.example"}, 403),
        ("POST", "/approve", {"Host": "evil.example", "Content_Length": str(LARGE << 20)}, 403),
        ("POST", "/nowhere", {}, 404),
        ("POST", "/robots.txt", {}, 404),
        ("PUT", "/", {}, 405),
        ("GET", "/health", {}, 200),
        ("GET", "/", {}, 200),
    ],
)
def test_pages_hold_no_more_of_a_body_than_a_form_has(
    review: FunctionProcess, method: str, path: str, headers: dict[str, str], code: int
) -> None:
    send(review, "GET", "/", iter(()))
    before = memory(review)
    assert send(review, method, path, (BLOCK for _ in range(LARGE)), **headers) == code
    assert memory(review) - before < 50


def test_a_form_in_chunks_is_read_like_any_other(review: FunctionProcess) -> None:
    """Without a token it is refused as not ours, and not for its chunks; 64 KiB are the last that are read."""
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    for size, code in ((10, 403), ((64 << 10) - 6, 403), ((64 << 10) - 5, 413)):
        body = b"token=" + b"x" * size
        assert send(review, "POST", "/approve", iter((body[:4], body[4:])), **form) == code
        assert send(review, "POST", "/approve", iter((body,)), Content_Length=str(len(body)), **form) == code


def test_an_event_is_read_whole_in_chunks_or_not(receiver: FunctionProcess) -> None:
    entry = same_project()
    receiver._log(entry)
    whole = json.dumps(entry).encode()
    events = {name.replace("-", "_"): text for name, text in EVENT.items()} | {"Content_Type": "application/json"}
    blocks = iter([whole[at : at + 100] for at in range(0, len(whole), 100)])
    assert send(receiver, "POST", "/", blocks, **events) == 200
    assert len(receiver.records()) == 1
    large = json.dumps(entry | {"padding": "x" * (12 << 20)}).encode()
    assert send(receiver, "POST", "/", iter((large,)), **events) == 200
    assert send(receiver, "POST", "/", iter((large,)), Content_Length=str(len(large)), **events) == 200


@pytest.mark.parametrize(
    "body", [b"[" * 5000, b"[" * 100_000, b'{"a":' * 5000, b"[" * 5000 + b"]" * 5000, b'{"message":' * 5000]
)
def test_a_body_too_deep_ends_in_a_2xx_and_a_line_that_says_why(receiver: FunctionProcess, body: bytes) -> None:
    for headers in ({}, EVENT, {"Content-Type": "application/cloudevents+json"}):
        sent = {"Content_Type": "application/json"} | {name.replace("-", "_"): text for name, text in headers.items()}
        assert send(receiver, "POST", "/", iter((body,)), Content_Length=str(len(body)), **sent) in range(200, 300)
    lines = receiver.lines(3)
    assert {line["message"] for line in lines} == {"unreadable event"}


def test_a_pushed_event_is_read_as_before(receiver: FunctionProcess) -> None:
    assert receiver.push(push_body(same_project())) == 200
