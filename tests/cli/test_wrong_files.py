"""What is no exported log is told in a sentence; an error message also gets the command for its log entry."""

from __future__ import annotations

import gzip
import io
import json
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from remediate.cli.app import app
from tests.audit_entries import activity
from tests.cli.shell import plan, run, run_process
from tests.policies import BEFORE_2025
from tests.sandbox_fixture import AGENT, IMAGE, ROOT

NOT_A_LOG = "this is no exported log; `gcloud logging read ... --format=json` prints one"
AN_ERROR = "this is an error message and not a log entry"
HINT = "Ensure that the provided container image URL is correct."
NOTE = "Note that the image is from project [platform-images], which is not the same as this project [shop-frontend]."
GCLOUD = f"ERROR: (gcloud.run.deploy) PERMISSION_DENIED: User must have permission to read the image, {IMAGE}. {HINT}"


def archive() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(200):
            file.writestr(f"{number}.json", json.dumps(activity(insert_id=str(number))))
    return made.getvalue()


WRONG = {
    "markdown": (ROOT / "README.md").read_bytes(),
    "zip": archive(),
    "compressed": gzip.compress((ROOT / "README.md").read_bytes()),
    "lines of a log": b"[2026-11-27 08:00:00] started\n" * 50,
    "numbers": b"7\n" * 50,
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("by_name", [True, False], ids=["file", "standard input"])
def test_a_file_of_the_wrong_kind_is_told_in_one_sentence(tmp_path: Path, kind: str, by_name: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(WRONG[kind])
    done = run("plan", str(path)) if by_name else plan(WRONG[kind])
    assert done.returncode == 1
    assert done.stderr.decode() == f"{path if by_name else '-'}: {NOT_A_LOG}\n"
    assert b"time range" not in done.stdout


def test_a_policy_explains_no_such_file_either() -> None:
    done = run("policy", "explain", str(BEFORE_2025), "README.md")
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[0] == f"README.md: {NOT_A_LOG}"


@pytest.mark.parametrize("before", [b"WARNING: a new version of gcloud is available\n", b"x\n" * 12])
def test_words_before_the_first_entry_do_not_make_it_another_file(before: bytes) -> None:
    done = plan(before + json.dumps(activity()).encode())
    assert done.returncode == 1
    assert b"-:1: unreadable: " in done.stderr
    assert b"1 entries, 1 image-read denials" in done.stdout


@pytest.mark.parametrize(
    ("text", "image", "log"),
    [
        (f"Deploying container to Cloud Run service [web]\nfailed\n{GCLOUD} {NOTE}\n", "platform-images", "shop-frontend"),
        (f"Deploying service [web] in project [shop] region [us-east1]\n{GCLOUD}\n", "platform-images", "shop"),
        (f"{GCLOUD}\n", "platform-images", None),
        ("│ Error: googleapi: User must have permission to read the image, gcr.io/acme/app.\n", "acme", None),
        (
            f"Google Cloud Run Service Agent {AGENT.partition(':')[2]} must have permission to read the image, "
            f"{IMAGE}. {HINT} {NOTE}",
            "platform-images",
            "shop-frontend",
        ),
        ("ERROR: (gcloud.run.deploy) Image 'ghcr.io/acme/app' not found.\n", None, None),
    ],
)  # fmt: skip
def test_an_error_message_gets_the_command_for_its_entry(
    tmp_path: Path, text: str, image: str | None, log: str | None
) -> None:
    path = tmp_path / "err.txt"
    path.write_text(text)
    done = run("plan", str(path))
    assert done.returncode == 1
    told, command = done.stderr.decode().splitlines()
    named = f"; its image is in project {image}" if image else ""
    who = "" if log else " (PROJECT is the project that you deploy to)"
    assert told == f"{path}: {AN_ERROR}{named}. This command gets the entry{who}:"
    words = shlex.split(command)
    assert words[:3] == ["gcloud", "logging", "read"]
    assert f"--project={log or 'PROJECT'}" in words
    assert words[-2:] == [">", "export.json"]
    logs = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("logs="))
    assert shlex.split(logs)[0].removeprefix("logs=") in words[3]


def test_an_error_message_through_a_pipe_is_told_too() -> None:
    done = run_process("plan", "-", stdin=f"{GCLOUD} {NOTE}\n".encode())
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"-: {AN_ERROR}; its image is in project platform-images.")


def test_an_error_message_drives_no_terminal_and_no_shell() -> None:
    done = plan("ERROR: \x1b[31m in project [a;reboot] image is from project [b\x1b[0m]\n")
    assert b"\x1b" not in done.stderr
    assert b"--project='a;reboot' " in done.stderr


EMPTY = "no entries: are the log and the time range right?"


@pytest.mark.parametrize(("format_", "said"), [("table", EMPTY), ("gcloud", f"# {EMPTY}"), ("terraform", f"# {EMPTY}")])
def test_an_empty_export_is_asked_about(format_: str, said: str) -> None:
    done = plan("[]", "--format", format_)
    assert (done.returncode, done.stderr) == (0, b"")
    assert said in done.stdout.decode().splitlines()
    assert EMPTY not in plan(json.dumps(activity())).stdout.decode()


def test_an_entry_that_an_export_has_twice_is_counted() -> None:
    entries = [activity(insert_id=str(number)) for number in range(6)]
    assert (
        "12 entries, 6 image-read denials, 0 unreadable, 6 seen twice\n"
        in plan(json.dumps(entries * 2)).stdout.decode()
    )
    assert "twice" not in plan(json.dumps(entries)).stdout.decode()


def _with_format(group: Any, *words: str) -> Iterator[tuple[str, Any, Any]]:
    """The name, the command and the option of every command that has a --format."""
    for name, each in group.commands.items():
        if hasattr(each, "commands"):
            yield from _with_format(each, *words, name)
        else:
            yield from ((" ".join((*words, name)), each, option) for option in each.params if "--format" in option.opts)


@pytest.mark.parametrize("spelled", ["JSON", "Json", "json"])
def test_a_format_is_known_in_any_case(spelled: str) -> None:
    done = plan(json.dumps(activity()), "--format", spelled)
    assert json.loads(done.stdout)["summary"]["entries"] == 1
    assert b"'xml' is not one of" in run("plan", "-", "--format", "xml").stderr


def test_every_command_knows_its_format_in_any_case() -> None:
    names = set()
    for name, command, option in _with_format(typer.main.get_command(app)):
        names.add(name)
        assert option.process_value(typer.Context(command), "JSON") == "json", name
    assert {"plan", "list", "show", "trail", "mode", "doctor", "policy explain", "roles list"} <= names
