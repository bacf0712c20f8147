"""Four eyes walked around by a switch of one's own, tried on the real function: nobody is granted by loosening the mode."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import warm
from tests.audit_entries import activity, push_body, user_text
from tests.sandbox_fixture import DEPLOYER, SandboxProcess
from tests.wire.function_fixture import FunctionProcess

IMAGE = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"
REPOSITORY = "projects/shop-frontend/locations/asia-northeast1/repositories/app"
ANA, BO = "ana@example.com", "bo@example.com"
OURS = {"REMEDIATE_ORGANIZATION": "400000000001", "REMEDIATE_DOMAINS": "example.com"}
Start = Callable[..., FunctionProcess]


@pytest.fixture
def start(sandbox_server: SandboxProcess, tmp_path: Path) -> Iterator[Start]:
    running: list[FunctionProcess] = []

    def started(**settings: str) -> FunctionProcess:
        running.append(FunctionProcess(sandbox_server, tmp_path, OURS | settings))
        return running[-1]

    yield started
    for function in running:
        function.close()


def typed(function: FunctionProcess, *arguments: str) -> str:
    assert function.sandbox
    ledger = {"REMEDIATE_LEDGER": f"sqlite:///{function.ledger_path}", "REMEDIATE_REVIEWERS": "example.com"}
    environment = {"PATH": os.environ["PATH"], **function.sandbox.env, **OURS, **ledger}
    done = warm.run_text("remediate", *arguments, "--reason", "it blocks us", env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def deploys(function: FunctionProcess, who: str, insert_id: str) -> tuple[str, list[str]]:
    """Who deploys, is denied, and what the function decides about that."""
    count = len(function.lines())
    assert function.push(push_body(activity(user_text(IMAGE), images=(IMAGE,), email=who, insert_id=insert_id))) == 200
    line = function.lines(count + 1)[-1]
    return line["outcome"], line["reasons"]


def test_a_reviewer_who_switches_to_enforce_is_not_granted_their_own_deploy(
    start: Start, sandbox_server: SandboxProcess
) -> None:
    function = start()
    assert deploys(function, ANA, "1")[0] == "ask"
    for _ in range(2):
        assert "not switched yet" in typed(function, "mode", "enforce", "--as", ANA)
    assert deploys(function, ANA, "2")[0] == "ask"
    assert sandbox_server.requests(":setIamPolicy") == 0
    assert typed(function, "mode", "enforce", "--as", BO) == "everywhere: enforce\n"
    for number, who in enumerate((ANA, BO)):
        outcome, reasons = deploys(function, who, f"own-{number}")
        assert outcome == "ask"
        assert "own_switch" in reasons
    assert sandbox_server.requests(":setIamPolicy") == 0
    assert deploys(function, DEPLOYER.partition(":")[2], "control")[0] == "grant"
    assert sandbox_server.readers(REPOSITORY) == [DEPLOYER]


def test_nor_who_takes_a_dry_run_away(start: Start, sandbox_server: SandboxProcess) -> None:
    function = start(REMEDIATE_MODE="enforce")
    assert typed(function, "mode", "dry-run", "--as", BO) == "everywhere: dry-run\n"
    assert "not switched yet" in typed(function, "mode", "clear", "--as", ANA)
    assert "not switched yet" in typed(function, "mode", "enforce", "--scope", "projects/shop-frontend", "--as", ANA)
    assert deploys(function, ANA, "1")[0] == "ask"
    assert deploys(function, DEPLOYER.partition(":")[2], "2")[0] == "ask"
    assert sandbox_server.requests(":setIamPolicy") == 0
    assert "no switch any more" in typed(function, "mode", "clear", "--as", BO)
    assert "own_switch" in deploys(function, ANA, "3")[1]
    assert deploys(function, DEPLOYER.partition(":")[2], "4")[0] == "grant"
