"""`sweep --due` from the command line, and sweeps that run at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from remediate.cli.sweep import LEASES
from remediate.ledger.opening import open_ledger
from remediate.times import parse_time, to_rfc3339
from sandbox.terminal import run_at_terminal
from tests.cli.shell import REVIEWER, Shell
from tests.sandbox_fixture import DEPLOYER, ROOT, SandboxProcess

LATER = "2099-01-01T00:00:00Z"
ELSEWHERE = "another sweep{} is running; this one did nothing"


def after(span: timedelta) -> str:
    return to_rfc3339(parse_time(LATER) + span)


def messages(output: str) -> list[str]:
    return [json.loads(line)["message"] for line in output.splitlines()]


@contextmanager
def stuck_sweep(shell: Shell, sandbox: SandboxProcess, *options: str) -> Iterator[None]:
    """A sweep in another process that waits for Google Cloud inside the block, and is killed at its end."""
    sandbox.faults({"match": "getIamPolicy", "effect": "timeout", "seconds": 60.0})
    before = sandbox.requests("getIamPolicy")
    command = [sys.executable, "-m", "remediate", "sweep", *options, "--as-of", LATER]
    environment = {"PATH": os.environ["PATH"]} | shell.environment
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        while sandbox.requests("getIamPolicy") == before:
            assert process.poll() is None
            threading.Event().wait(0.02)
        try:
            yield
        finally:
            process.kill()
    sandbox.faults()


@pytest.mark.parametrize(("options", "kind"), [(("--due",), "due"), ((), "sweep")])
def test_a_sweep_keeps_others_of_its_kind_away_until_it_ends_or_its_lease_does(
    shell: Shell, sandbox_server: SandboxProcess, options: tuple[str, ...], kind: str
) -> None:
    shell.run("approve", shell.ids[0], "--as", REVIEWER, "--for", "1h")
    said, lease = ELSEWHERE.format("".join(f" {each}" for each in options)), LEASES[kind]
    with stuck_sweep(shell, sandbox_server, *options):
        assert messages(shell.run("sweep", *options, "--as-of", LATER)) == [said]
        assert DEPLOYER in sandbox_server.readers()
    almost, ended = after(lease - timedelta(microseconds=1)), after(lease)
    assert messages(shell.run("sweep", *options, "--as-of", almost)) == [said]
    assert messages(shell.run("sweep", *options, "--as-of", ended)) == [f"{shell.ids[0]}: granted -> expired"]
    assert DEPLOYER not in sandbox_server.readers()


def test_a_sweep_of_what_is_due_runs_beside_one_of_everything(shell: Shell, sandbox_server: SandboxProcess) -> None:
    shell.run("approve", shell.ids[0], "--as", REVIEWER, "--for", "1h")
    with stuck_sweep(shell, sandbox_server):
        done = messages(shell.run("sweep", "--due", "--as-of", LATER))
        assert done == [f"{shell.ids[0]}: granted -> expired"]
        assert DEPLOYER not in sandbox_server.readers()


def test_the_retry_of_a_task_that_died_goes_on_at_once(shell: Shell) -> None:
    lease = ("due", "remediate-due-x7k2p", to_rfc3339(parse_time(LATER)), after(LEASES["due"]))
    assert open_ledger(shell.environment["REMEDIATE_LEDGER"]).acquire_lease(*lease)
    sweep = ("sweep", "--due", "--as-of", LATER)
    assert messages(shell.run(*sweep, CLOUD_RUN_EXECUTION="remediate-due-other")) == [ELSEWHERE.format(" --due")]
    assert len(messages(shell.run(*sweep, CLOUD_RUN_EXECUTION="remediate-due-x7k2p"))) == 2
    assert shell.run(*sweep) == ""  # it gave the lease back


def test_a_person_reads_one_line_where_another_sweep_runs(shell: Shell) -> None:
    lease = ("due", "another", to_rfc3339(parse_time(LATER)), after(LEASES["due"]))
    assert open_ledger(shell.environment["REMEDIATE_LEDGER"]).acquire_lease(*lease)
    command = [sys.executable, "-m", "remediate", "sweep", "--due", "--as-of", LATER]
    done = run_at_terminal(command, {"PATH": os.environ["PATH"]} | shell.environment, ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, ELSEWHERE.format(" --due") + "\n", "")


def test_a_sweep_that_fails_gives_its_lease_back(shell: Shell, sandbox_server: SandboxProcess) -> None:
    shell.run("approve", shell.ids[0], "--as", REVIEWER, "--for", "1h")
    sandbox_server.faults({"match": "setIamPolicy", "effect": "status", "code": 403, "times": 1})
    shell.run("sweep", "--due", "--as-of", LATER, code=3)
    shell.run("sweep", "--due", "--as-of", LATER)
    assert DEPLOYER not in sandbox_server.readers()


def test_what_is_due_is_done_without_a_policy_file_and_without_a_look_at_grants_that_stand(
    shell: Shell, sandbox_server: SandboxProcess
) -> None:
    shell.run("approve", shell.ids[0], "--as", REVIEWER)
    before = sandbox_server.requests()
    assert shell.run("sweep", "--due", REMEDIATE_POLICY="/nowhere/policy.yaml") == ""
    assert sandbox_server.requests() == before
    shell.run("sweep")
    assert sandbox_server.requests("getIamPolicy") > 0
    assert len(messages(shell.run("sweep", "--due", "--as-of", LATER))) == 1  # the other proposal lapses


@pytest.mark.parametrize("other", [("--since", "1d"), ("--scope", "projects/shop-frontend")])
def test_what_reads_the_log_is_not_due(shell: Shell, other: tuple[str, str]) -> None:
    assert "--due reads no log: leave out --since and --scope" in shell.run("sweep", "--due", *other, code=2)
