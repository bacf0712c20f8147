"""`remediate plan`: the promised JSON, every format, no network, and no bad input that goes unnamed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pty
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.audit_entries import DEPLOYER, PROJECT, REPOSITORY, activity, push_body, system_event, user_text
from tests.cli.shell import plan, run
from tests.policies import BEFORE_2025
from tests.sandbox_fixture import ROOT

CORPUS = ROOT.parent / "shared" / "corpus" / "entries"
SAME = f"us-docker.pkg.dev/{PROJECT}/app/web"
ENTRIES = [
    activity(insert_id="1"),
    activity(user_text(SAME), images=(SAME,), insert_id="2"),
    system_event(),
    activity("Something else.", insert_id="3"),
    activity(email=None, insert_id="4"),
]


@pytest.fixture(scope="module")
def export() -> str:
    return json.dumps(ENTRIES, indent=2)


def test_json_is_exactly_what_is_promised(export: str) -> None:
    done = plan(export, "--format", "json", "--policy", str(BEFORE_2025))
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert list(report) == ["entries", "grants", "summary"]
    assert list(report["entries"][0]) == [
        "insert_id", "log_name", "timestamp", "outcome", "reasons", "rule", "reader", "member", "repository", "image", "deploy",
    ]  # fmt: skip
    assert list(report["entries"][0]["deploy"]) == ["project", "number", "location", "kind", "name"]
    assert list(report["grants"][0]) == [
        "repository", "member", "role", "outcome", "rule", "reasons", "readers", "predicted", "denials", "first_seen", "last_seen",
    ]  # fmt: skip
    assert [each["outcome"] for each in report["entries"]] == ["ask", "grant", "ask", "ignore", "ask"]
    assert report["entries"][4]["member"] is None
    assert report["entries"][3]["reader"] is None
    assert report["summary"] == {"entries": 5, "denials": 4, "ignored": {"other_failure": 1}, "unreadable": 0}


def test_a_mixed_export_is_read_whole_and_what_is_broken_is_named(tmp_path: Path) -> None:
    event = {"specversion": "1.0", "id": "1", "type": "x", "source": "y", "data": push_body(ENTRIES[1])}
    lines = [
        json.dumps(ENTRIES[0]),
        "{broken",
        json.dumps(push_body(ENTRIES[2])),
        json.dumps(event),
        '{"protoPayload": 7}',
    ]
    file = tmp_path / "export.json.gz"
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    done = run("plan", str(file), "--format", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["summary"]["denials"] == 3
    assert json.loads(done.stdout)["summary"]["unreadable"] == 2
    told = done.stderr.decode().splitlines()
    assert [line.split(": ")[0] for line in told] == [f"{file}:2", f"{file}:5"]


def test_gcloud_prints_the_exact_commands(export: str) -> None:
    lines = plan(export, "--format", "gcloud").stdout.decode().splitlines()
    commands = [shlex.split(line) for line in lines if not line.startswith("#")]
    assert len(commands) == 3
    for command in commands:
        assert command[:4] == ["gcloud", "artifacts", "repositories", "add-iam-policy-binding"]
        assert command[-1] == "--role=roles/artifactregistry.reader"
    assert ["containers", "--project=platform-images", "--location=asia-northeast1"] in [each[4:7] for each in commands]


def test_terraform_is_additive_with_imports(export: str) -> None:
    text = plan(export, "--format", "terraform").stdout.decode()
    assert text.count('resource "google_artifact_registry_repository_iam_member"') == text.count("import {") == 3
    assert f'id = "{REPOSITORY} roles/artifactregistry.reader serviceAccount:{DEPLOYER}"' in text
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed, so its own formatter cannot be asked")
    check = subprocess.run(["terraform", "fmt", "-check", "-"], input=text, capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout


def test_csv_has_a_header_and_no_formulas(export: str) -> None:
    rows = list(
        csv.DictReader(io.StringIO(plan(export, "--format", "csv", "--policy", str(BEFORE_2025)).stdout.decode()))
    )
    assert len(rows) == 3
    assert {row["outcome"] for row in rows} == {"grant", "ask"}
    hostile = plan(json.dumps(activity(email="=cmd@example.com")), "--format", "csv").stdout.decode()
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in csv.reader(io.StringIO(hostile)) for cell in row)


def test_the_table_tells_everything_in_words(export: str) -> None:
    text = plan(export).stdout.decode()
    for part in (
        f"serviceAccount:{DEPLOYER}",
        REPOSITORY,
        "cross_project",
        "Ignored",
        "other_failure",
        "member_unknown",
    ):
        assert part in text
    narrow = run("plan", "-", stdin=export.encode(), COLUMNS="60").stdout.decode()
    assert f"serviceAccount:{DEPLOYER}" in narrow


def test_hostile_text_reaches_no_terminal() -> None:
    entry = activity(insert_id="\x1b[31m[bold]red[/bold]\u202e")
    entry["protoPayload"]["authenticationInfo"] = {}
    text = plan(json.dumps(entry)).stdout.decode()
    assert "[bold]red[/bold]" in text
    assert not any(not char.isprintable() for char in text if char != "\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["plan"], "FILE"),
        (["plan", "no-such-file.json"], "no-such-file.json"),
        (["plan", "sandbox"], "sandbox"),
        (["plan", "-", "--format", "xml"], "xml"),
        (["plan", "-", "--policy", "x"], "x: No such file"),
        (["plna"], "plna"),
    ],
)
def test_bad_input_is_named_and_exits_2(arguments: list[str], named: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert named in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert not done.stdout


def test_yaml_is_answered_with_what_to_do() -> None:
    done = plan("---\ninsertId: abc\n")
    assert done.returncode == 2
    assert b"--format=json" in done.stderr


@pytest.mark.parametrize("text", ["", "[]", "\n\n"])
def test_an_empty_export_is_an_honest_empty_report(text: str) -> None:
    done = plan(text, "--format", "json")
    assert json.loads(done.stdout) == {
        "entries": [],
        "grants": [],
        "summary": {"entries": 0, "denials": 0, "ignored": {}, "unreadable": 0},
    }
    assert b"0 entries" in plan(text).stdout


def test_no_network_and_no_google_client_is_touched(export: str) -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*_, **__): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = socket.create_connection = refuse\n"
        "sys.argv = ['remediate', 'plan', '-', '--format', 'json']\n"
        "from remediate.cli.app import main\n"
        "try: main()\n"
        "finally: assert not [name for name in sys.modules if name.startswith(('google.api_core', 'google.protobuf', 'grpc', 'requests'))]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, input=export.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_closed_pipe_is_no_error(export: str) -> None:
    many = "\n".join(json.dumps(activity(insert_id=str(number))) for number in range(3000))
    command = f"{shlex.quote(sys.executable)} -m remediate plan - --format json | head -c 10"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, input=many.encode(), capture_output=True, check=False)
    assert done.stderr == b""
    assert export


@pytest.mark.slow
def test_a_progress_bar_is_for_terminals_and_long_input_alone(tmp_path: Path) -> None:
    long = tmp_path / "long.json"
    long.write_text("\n".join(json.dumps(activity(insert_id=str(number))) for number in range(4000)))
    assert run("plan", str(long), "--format", "json").stderr == b""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "remediate", "plan", str(long), "--format", "json"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    assert process.wait(60) == 0
    os.close(ours)
    assert b"reading" in shown


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of published entries is not beside this checkout")
def test_the_whole_corpus_at_once_has_its_three_denials_and_no_grant() -> None:
    done = run("plan", *(str(path) for path in sorted(CORPUS.glob("*.json"))), "--format", "json")
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["summary"]["denials"] == 3
    assert {each["outcome"] for each in report["entries"]} == {"ask", "ignore"}
