"""The command line as a whole: errors become a sentence and an exit code, and nothing heavy is loaded to say them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import remediate
from remediate.cli.app import app
from tests.audit_entries import activity
from tests.cli.shell import plan, run, run_process
from tests.sandbox_fixture import ROOT


def test_the_version_is_the_projects() -> None:
    done = run_process("--version")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"remediate {remediate.__version__}\n"


def _commands(group: Any, *words: str) -> Iterator[tuple[str, ...]]:
    """The words of every command and group below this one, itself included."""
    yield words
    for name, each in getattr(group, "commands", {}).items():
        yield from _commands(each, *words, name)


COMMANDS = sorted(_commands(typer.main.get_command(app)))


def test_the_commands_below_commands_are_found() -> None:
    assert {("plan",), ("policy", "check"), ("roles", "refresh")} <= set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_tells_its_help_by_either_word(words: tuple[str, ...]) -> None:
    answers = [CliRunner().invoke(app, [*words, option], prog_name="remediate") for option in ("-h", "--help")]
    assert [each.exit_code for each in answers] == [0, 0]
    assert answers[0].output == answers[1].output
    assert " ".join(("Usage: remediate", *words)) in " ".join(answers[0].output.split())


def test_help_calls_the_program_remediate() -> None:
    assert b"Usage: remediate [OPTIONS] COMMAND" in run("-h").stdout
    assert b"Try 'remediate plan --help' for help" in run("plan").stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_and_completes(shell: str) -> None:
    shown = run("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert b"_REMEDIATE_COMPLETE=complete_" + shell.encode() in shown.stdout


def test_a_shell_is_told_how_a_word_may_go_on() -> None:
    done = run(_REMEDIATE_COMPLETE="complete_bash", COMP_WORDS="remediate po", COMP_CWORD="1")
    assert done.stdout.split() == [b"policy"]


def test_help_names_every_command() -> None:
    text = run("--help").stdout.decode()
    for command in ("plan", "list", "show", "approve", "reject", "trail"):
        assert f" {command} " in text


def test_no_command_at_all_is_answered_with_the_help_and_exits_2() -> None:
    done = run_process()
    assert done.returncode == 2
    assert b"Usage" in done.stdout + done.stderr


def test_starting_loads_no_client_and_no_service() -> None:
    code = (
        "import sys, remediate.cli.app\n"
        "heavy = ('google.api_core', 'grpc', 'requests', 'structlog', 'remediate.service.remediator')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_with_control_characters_drives_no_terminal(tmp_path: Path) -> None:
    done = run("plan", str(tmp_path / "\x1b[31mred"))
    assert done.returncode == 2
    assert b"\x1b" not in done.stderr
    assert b"red" in done.stderr


def test_a_terminal_without_unicode_is_no_error() -> None:
    entry = json.dumps(activity(email=None, insert_id="\u6f22\u00e9"))
    done = run_process("plan", "-", stdin=entry.encode(), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u6f22\\xe9" in done.stdout


def test_an_interrupt_is_quiet_and_exits_130() -> None:
    code = (
        "import signal, sys\n"
        "import remediate.entries.export\n"
        "remediate.entries.export.documents = lambda *_: signal.raise_signal(signal.SIGINT)\n"
        "sys.argv = ['remediate', 'plan', '-']\n"
        "from remediate.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, input=b"", capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (130, b"")
    assert b"Traceback" not in done.stderr


def test_a_defect_is_said_in_a_line_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remediate.entries.export.documents", lambda *_: 1 / 0)
    done = plan("")
    assert done.returncode == 1
    assert b"unexpected ZeroDivisionError" in done.stderr
    assert b"Traceback" not in done.stderr


def test_standard_input_is_named_once_only() -> None:
    done = run("plan", "-", "-", stdin=b"{}")
    assert done.returncode == 2
    assert b"standard input" in done.stderr


def test_a_closed_standard_input_is_said() -> None:
    command = ["sh", "-c", '"$0" -m remediate plan - <&-', sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"standard input is closed" in done.stderr


def test_a_named_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "remediate", "plan", str(pipe), "--format", "json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        pipe.write_text(json.dumps(activity()))
        told, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert json.loads(told)["summary"]["entries"] == 1


@pytest.mark.parametrize("format_", ["table", "json", "csv", "gcloud", "terraform"])
def test_every_format_takes_an_empty_export(format_: str) -> None:
    done = plan("", "--format", format_)
    assert (done.returncode, done.stderr) == (0, b"")
