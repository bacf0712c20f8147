"""`sweep --since` with a log view: one call for everything watched, as far back as the view reaches."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.shell import Shell
from tests.cloud.test_log_view import VIEW
from tests.sandbox_fixture import DEPLOYER, SandboxProcess


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


@pytest.fixture
def viewing(shell: Shell) -> Shell:
    """The command line of an installation with a log view, in an organization."""
    shell.environment |= {"REMEDIATE_LOG_VIEW": VIEW, "REMEDIATE_ORGANIZATION": "400000000001"}
    return shell


def test_a_sweep_reads_missed_denials_in_one_call_and_searches_no_project(
    viewing: Shell, sandbox_server: SandboxProcess
) -> None:
    sandbox_server.deploy("asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1", DEPLOYER)
    before = sandbox_server.requests("/views/")
    for more in ((), ("--scope", "organizations/400000000001"), ("--scope", "folders/310000000001")):
        output = viewing.run("sweep", "--since", "7d", *more)
        assert "reaches further back" not in output
        assert not [each for each in lines(output) if each["severity"] == "ERROR"]
    assert sandbox_server.requests("projects:search") == 0
    assert sandbox_server.requests("/views/") - before >= 3
    assert "shop-frontend/locations/asia-northeast1/repositories/app" in viewing.run("list")


def test_a_sweep_that_looks_back_further_than_the_view_reads_the_projects_and_says_so(
    viewing: Shell, sandbox_server: SandboxProcess
) -> None:
    said = [each for each in lines(viewing.run("sweep", "--since", "8d")) if "reaches further back" in each["message"]]
    assert [(each["severity"], each["scope"]) for each in said] == [("NOTICE", ["organizations/400000000001"])]
    assert "the 7 days of the log view" in said[0]["message"]
    assert sandbox_server.requests("projects:search") == 1


def test_a_project_that_is_named_is_read_in_its_own_log(viewing: Shell, sandbox_server: SandboxProcess) -> None:
    before = sandbox_server.requests("entries:list") - sandbox_server.requests("/views/")
    assert "further back" not in viewing.run("sweep", "--since", "1d", "--scope", "projects/shop-frontend")
    assert sandbox_server.requests("entries:list") - sandbox_server.requests("/views/") > before


def test_a_sweep_whose_view_is_gone_does_what_is_due_and_fails(viewing: Shell) -> None:
    viewing.environment["REMEDIATE_LOG_VIEW"] = f"{VIEW.rpartition('/')[0]}/gone"
    output = viewing.run("sweep", "--since", "1d", code=1)
    assert [each["severity"] for each in lines(output) if "/views/gone" in each["message"]] == ["ERROR"]
