"""What has to work when something else does not: the switch without a policy file, the sweep without a log."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys

import pytest

from remediate import wiring
from remediate.records.modes import ModeChange
from sandbox.terminal import run_at_terminal
from tests.cli.shell import REVIEWER, Shell
from tests.fakes import Heard
from tests.sandbox_fixture import DEPLOYER, REPOSITORY, ROOT, SandboxProcess


def test_a_switch_and_a_revocation_need_no_policy_file(shell: Shell, sandbox_server: SandboxProcess) -> None:
    shell.run("approve", shell.ids[0], "--as", REVIEWER)
    shell.environment["REMEDIATE_POLICY"] = "/nowhere/policy.yaml"
    assert "everywhere: dry-run" in shell.run("mode", "dry-run", "--as", REVIEWER, "--reason", "stop")
    shell.run("revoke", shell.ids[0], "--as", REVIEWER, "--reason", "stop")
    assert DEPLOYER not in sandbox_server.readers()
    assert "/nowhere/policy.yaml: No such file" in shell.run("approve", shell.ids[1], "--as", REVIEWER, code=1)


def test_a_sweep_ends_what_is_over_though_the_log_and_the_policy_cannot_be_read(
    shell: Shell, sandbox_server: SandboxProcess
) -> None:
    shell.run("approve", shell.ids[0], "--as", REVIEWER, "--for", "1h")
    sandbox_server.faults({"match": "entries:list", "effect": "status", "code": 403})
    later = ("--as-of", "2099-01-01T00:00:00Z")
    output = shell.run(
        *("sweep", "--since", "1d", "--scope", "projects/shop-frontend", *later),
        code=1,
        REMEDIATE_POLICY="/nowhere/policy.yaml",
    )
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert [line["severity"] for line in lines if "cannot read missed denials" in line["message"]] == ["ERROR"]
    assert "expired" in {line.get("state") for line in lines}
    assert DEPLOYER not in sandbox_server.readers()


def test_the_exit_code_of_a_sweep_tells_a_refusal_by_google_cloud_from_a_fault(
    shell: Shell, sandbox_server: SandboxProcess
) -> None:
    shell.run("approve", *shell.ids, "--as", REVIEWER, "--for", "1h")
    later = ("--as-of", "2099-01-01T00:00:00Z")
    refused = {"match": "setIamPolicy", "effect": "status", "code": 403, "times": 1}
    sandbox_server.faults(refused)
    assert ": 403 " in shell.run("sweep", *later, code=3)  # the other one ended
    down = {"match": "setIamPolicy", "effect": "status", "code": 503, "times": None}
    sandbox_server.faults(down)
    assert ": 503 " in shell.run("sweep", *later, code=1, REMEDIATE_TIMEOUT="1")
    sandbox_server.faults()
    shell.run("sweep", *later)
    shell.run("sweep", *later, code=1, REMEDIATE_POLICY="/nowhere/policy.yaml")
    assert DEPLOYER not in sandbox_server.readers()


def test_a_fault_beside_a_refusal_is_a_fault(shell: Shell, sandbox_server: SandboxProcess) -> None:
    shell.run("approve", *shell.ids, "--as", REVIEWER, "--for", "1h")
    sandbox_server.faults({"match": "setIamPolicy", "effect": "status", "code": 403, "times": None})
    shell.run("sweep", "--as-of", "2099-01-01T00:00:00Z", code=1, REMEDIATE_POLICY="/nowhere/policy.yaml")


def test_a_sweep_names_the_project_whose_log_it_may_not_read_and_picks_up_the_others(
    shell: Shell, sandbox_server: SandboxProcess
) -> None:
    sandbox_server.deploy(name="missed")
    output = shell.run("sweep", "--since", "1d", "--scope", "projects/nobody-s", "--scope", "projects/shop-frontend")
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    [unread] = [line for line in lines if line["severity"] == "WARNING"]
    assert unread["message"].startswith("cannot read missed denials of some projects: projects/nobody-s: ")
    assert shell.json("show", shell.ids[0])["denials"] == 2
    assert "403" in shell.run("sweep", "--since", "1d", "--scope", "projects/nobody-s", code=1)


def test_a_sweep_ends_what_is_over_though_projects_and_policy_cannot_be_had(
    shell: Shell, sandbox_server: SandboxProcess
) -> None:
    shell.run("approve", shell.ids[0], "--as", REVIEWER, "--for", "1h")
    later = ("--as-of", "2099-01-01T00:00:00Z", "--since", "1d")
    sandbox_server.deploy()
    broken = {"REMEDIATE_POLICY": "/nowhere/policy.yaml", "REMEDIATE_ORGANIZATION": "400000000001"}
    sandbox_server.faults({"match": "projects:search", "effect": "status", "code": 503, "times": 50})
    output = shell.run("sweep", *later, code=1, REMEDIATE_TIMEOUT="1", **broken)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert lines[0]["severity"] == "CRITICAL"
    assert "/nowhere/policy.yaml" in lines[0]["message"]
    assert "ERROR" in {line["severity"] for line in lines}
    assert "expired" in {line.get("state") for line in lines}
    assert DEPLOYER not in sandbox_server.readers()
    sandbox_server.faults()
    assert "No such file" in shell.run("sweep", "--since", "1d", code=1, **broken)


def test_a_sweep_at_a_terminal_is_readable(shell: Shell) -> None:
    """What the scheduler's log gets as JSON, a person reads in words, and is told where nothing was due."""

    def at_terminal(*arguments: str) -> str:
        command = [sys.executable, "-m", "remediate", "sweep", *arguments]
        done = run_at_terminal(command, {"PATH": os.environ["PATH"]} | shell.environment, ROOT)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert at_terminal() == "nothing was due\n"
    assert shell.run("sweep") == ""
    lines = at_terminal("--as-of", "2999-01-01").splitlines()
    assert len(lines) == 2
    assert f"{shell.ids[0]}: proposed -> lapsed  ({DEPLOYER} on {REPOSITORY})" in lines


def test_a_sweep_by_a_person_writes_the_trails_lines_to_the_log_and_a_job_prints_them(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cloud Run collects the output of the job; no log collects the output of a person's terminal."""
    heard = Heard()
    monkeypatch.setattr(wiring, "trail_log_from", lambda *_: heard)
    shell.run("mode", "enforce", "--as", REVIEWER, "--reason", "asks", REMEDIATE_OPERATORS="x@example.com")
    heard.transitions.clear()
    output = shell.run("sweep", "--as-of", "2099-01-01T00:00:00Z", CLOUD_RUN_JOB="remediate-sweep")
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["message"] for line in lines if "scope" in line.get("trail", {})] == [
        "mode: everywhere: request lapsed by remediate"
    ]
    assert all(line["trail"]["hash"] for line in lines)
    assert heard.transitions == []
    shell.run("mode", "enforce", "--as", REVIEWER, "--reason", "asks again", REMEDIATE_OPERATORS="x@example.com")
    heard.transitions.clear()
    shell.run("sweep", "--as-of", "2199-01-01T00:00:00Z")
    assert [type(step) for step in heard.transitions] == [ModeChange]


@pytest.mark.parametrize("ident", ["a/b", "r-xyz", "", "r-", "r-0123456789abc", "../x"])
def test_what_is_no_id_is_named_with_what_is_accepted(shell: Shell, ident: str) -> None:
    output = shell.run("show", ident, code=2)
    assert "expected r- and up to 12 of 0-9 and a-f" in output
    assert repr(ident) in output


def test_a_list_of_a_time(shell: Shell) -> None:
    moment = shell.json("list")[0]["last_seen"]
    assert len(shell.json("list", "--since", moment)) == 2
    assert shell.json("list", "--until", moment) == []
    assert shell.json("list", "--since", "2099-01-01") == []
    assert re.search(r"--since 'soon': expected RFC 3339", shell.run("list", "--since", "soon", code=2))


def test_one_record_that_cannot_be_read_is_named_and_stops_no_other(
    shell: Shell, sandbox_server: SandboxProcess
) -> None:
    shell.run("approve", shell.ids[0], "--as", REVIEWER, "--for", "1h")
    path = shell.environment["REMEDIATE_LEDGER"].removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE remediations SET record = '{}' WHERE id = ?", (shell.ids[1],))
    named = f"the record of {shell.ids[1]} cannot be read"
    output = shell.run("list", code=1)
    assert named in output
    assert shell.ids[0] in output
    for command in (["show", shell.ids[1]], ["approve", shell.ids[1], "--as", REVIEWER]):
        output = shell.run(*command, code=1)
        assert named in output
        assert "trail verify" in output
        assert "unexpected" not in output
    output = shell.run("sweep", "--as-of", "2099-01-01T00:00:00Z", code=1)
    assert f"{shell.ids[1]}: {named}" in output
    assert DEPLOYER not in sandbox_server.readers()
