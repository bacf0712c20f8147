"""A terminal whose sandbox has ended: what asks Google Cloud says so at once, and everything else works on."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
import typer

from remediate.cli.app import app
from remediate.cli.cloud_command import CloudCommand, check_sandbox
from tests.cli.shell import REVIEWER, Shell, remediate
from tests.sandbox_fixture import SandboxProcess

AS = ("--as", REVIEWER)
WHY = ("--reason", "x")
ASKING = {
    "show": ("0",),
    "approve": ("0", *AS),
    "revoke": ("0", *AS, *WHY),
    "sweep": (),
    "doctor": (),
    "roles refresh": (),
}
"""Every command that asks Google Cloud, with words that it accepts."""


def kinds(group: Any, *words: str) -> dict[str, type]:
    """The class of every command below this group."""
    found: dict[str, type] = {}
    for name, each in group.commands.items():
        below = hasattr(each, "commands")
        found |= kinds(each, *words, name) if below else {" ".join((*words, name)): type(each)}
    return found


@pytest.fixture
def ended() -> str:
    """The address of a sandbox that has ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("command", ASKING)
def test_what_asks_google_cloud_says_at_once_that_the_sandbox_has_ended(ended: str, command: str) -> None:
    began = time.monotonic()
    told = remediate(*command.split(), *ASKING[command], code=1, SANDBOX_URL=ended)
    assert time.monotonic() - began < 3  # the clients would try again for half a minute
    cure = "run `make run` again, then `. .run/env` again"
    assert told == f"remediate: the sandbox at {ended} has ended: {cure}\n"


def test_these_are_the_commands_that_ask() -> None:
    found = kinds(typer.main.get_command(app))
    assert {name for name, kind in found.items() if issubclass(kind, CloudCommand)} == ASKING.keys()


def test_the_others_ask_nothing_and_work_on(shell: Shell, sandbox_server: SandboxProcess, ended: str) -> None:
    shell.environment["SANDBOX_URL"] = ended
    before = sandbox_server.requests()
    for words in (
        ("list",),
        ("trail",),
        ("trail", "verify"),
        ("mode",),
        ("mode", "dry-run", *AS, *WHY),
        ("reject", shell.ids[0], *AS, *WHY),
        ("plan", "examples/denials.json"),
        ("show", "--help"),
    ):
        assert "has ended" not in shell.run(*words)
    assert sandbox_server.requests() == before
    assert "there is no remediation" in shell.run("show", "ffff", code=2, SANDBOX_URL=sandbox_server.url)


@pytest.mark.parametrize("url", ["", "nonsense", "http://127.0.0.1", "http://127.0.0.1:x", "http://[::1"])
def test_an_address_that_is_none_is_left_to_the_clients(url: str) -> None:
    check_sandbox(url)
