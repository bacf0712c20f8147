"""What is typed to switch the mode, and to confirm a policy text: one person asks, another confirms; an operator alone."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.cli.shell import REVIEWER, Shell

ANA, BO = "ana@example.com", "bo@example.com"
WHY = ("--reason", "the pilot is over")
SCOPE = ("--scope", "folders/421")
GRANTS = "rules:\n- {name: everything, when: true, then: grant}\n"


def rows(shell: Shell) -> dict[str, str]:
    return {each["scope"]: each["mode"] for each in shell.json("mode")}


def test_one_person_asks_and_another_confirms(shell: Shell) -> None:
    output = shell.run("mode", "enforce", *SCOPE, *WHY, "--as", ANA)
    assert f"folders/421: not switched yet. user:{ANA} asked for enforce" in output
    assert "remediate mode enforce --scope folders/421 --reason '...' --as you@example.com\n" in output
    assert rows(shell)["folders/421"] == "asked: enforce"
    assert "not switched yet" in shell.run("mode", "enforce", *SCOPE, *WHY, "--as", ANA.upper())
    assert len(shell.json("trail", "mode")) == 1
    assert shell.run("mode", "enforce", *SCOPE, *WHY, "--as", BO) == "folders/421: enforce\n"
    assert rows(shell)["folders/421"] == "enforce"
    told = shell.run("trail", "mode")
    assert "asked for enforce" in told
    assert f"no switch → enforce (asked for by user:{ANA})" in told
    assert "0 broken" in shell.run("trail", "verify")


def test_dry_run_is_said_by_one_and_withdraws_what_was_asked_for(shell: Shell) -> None:
    assert shell.run("mode", "dry-run", *WHY, "--as", ANA) == "everywhere: dry-run\n"
    set_at = shell.json("mode")[1]["since"]
    assert "not switched yet" in shell.run("mode", "clear", *WHY, "--as", ANA)
    shown = shell.json("mode")
    assert (shown[1]["mode"], shown[1]["since"], shown[2]["mode"]) == ("dry-run", set_at, "asked: clear")
    output = shell.run("mode", "dry-run", "--reason", "an incident", "--as", BO)
    assert output == f"everywhere: dry-run\n    The request of user:{ANA} for clear is withdrawn.\n"
    assert rows(shell) == {**rows(shell), "everywhere": "dry-run"}
    assert "not switched yet" in shell.run("mode", "clear", *WHY, "--as", "cy@example.com")
    assert "request withdrawn" in shell.run("trail", "mode")


def test_an_operator_needs_nobody(shell: Shell) -> None:
    run = partial(shell.run, REMEDIATE_OPERATORS=ANA, REMEDIATE_REVIEWERS="example.org")
    alone = f"    switched alone: user:{ANA} is an operator here\n"
    assert run("mode", "enforce", *WHY, "--as", ANA) == f"everywhere: enforce\n{alone}"
    assert "is not a reviewer" in run("mode", "enforce", *SCOPE, *WHY, "--as", BO, code=1)
    assert shell.json("trail", "mode")[0]["operator"] is True
    wrong = shell.run("mode", code=2, REMEDIATE_OPERATORS="example.com")
    assert "REMEDIATE_OPERATORS='example.com': expected addresses" in wrong


def test_an_operator_who_confirms_anothers_request_does_not_switch_alone(shell: Shell) -> None:
    run = partial(shell.run, REMEDIATE_OPERATORS=BO)
    run("mode", "enforce", *WHY, "--as", ANA)
    assert run("mode", "enforce", *WHY, "--as", BO) == "everywhere: enforce\n"
    assert run("mode", "dry-run", *WHY, "--as", BO) == "everywhere: dry-run\n"
    assert "switched alone" in run("mode", "clear", *WHY, "--as", BO)


def test_the_mode_is_said_in_one_line_first(shell: Shell) -> None:
    def told(**environment: str) -> str:
        return shell.run("mode", code=0, **environment).splitlines()[0]

    def switch(wanted: str, scope: str = "everywhere") -> None:
        shell.run("mode", wanted, "--scope", scope, *WHY, "--as", REVIEWER)

    assert told() == "Mode: dry-run (no switch is set)"
    assert told(REMEDIATE_MODE="enforce") == "Mode: enforce (REMEDIATE_MODE)"
    switch("enforce", "folders/421")
    assert told() == "Mode: dry-run (`everywhere` has no switch); enforce in folders/421"
    switch("dry-run", "folders/422")
    switch("enforce")
    assert told() == "Mode: enforce (the switch of `everywhere`); dry-run in folders/422"
    assert told(REMEDIATE_MODE="dry-run") == "Mode: dry-run (REMEDIATE_MODE overrides every switch)"
    switch("dry-run")
    assert told() == told(REMEDIATE_MODE="enforce") == "Mode: dry-run (the switch of `everywhere`)"
    for format_ in ("json", "csv"):
        assert "Mode:" not in shell.run("mode", "--format", format_)


def test_a_sweep_lets_a_request_lapse(shell: Shell) -> None:
    shell.run("mode", "enforce", *WHY, "--as", ANA)
    shell.run("sweep", "--as-of", "2099-01-01T00:00:00Z")
    assert "everywhere" not in rows(shell)
    assert shell.json("trail", "mode")[-1]["ended"] == "lapsed"
    assert "0 broken" in shell.run("trail", "verify")


def test_a_forged_switch_is_found(shell: Shell) -> None:
    shell.run("mode", "enforce", *WHY, "--as", ANA)
    path = shell.environment["REMEDIATE_LEDGER"].removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        [record] = connection.execute("SELECT CAST(record AS TEXT) FROM modes").fetchone()
        connection.execute("UPDATE modes SET record = ?", (record.replace(ANA, BO),))
    assert "mode  broken: the requests that wait for a second person are not those in the trail" in shell.run(
        "trail", "verify", code=1
    )


@pytest.fixture
def bucket() -> Iterator[tuple[str, list[str]]]:
    """Cloud Storage with one policy, at `gs://rules/policy.yaml`; the list holds its text."""
    text = [GRANTS]

    class Storage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/storage/v1/b/rules/o/policy.yaml?alt=media" else 404)
            self.end_headers()
            self.wfile.write(text[0].encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Storage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", text
        server.shutdown()


def test_a_policy_text_is_shown_asked_for_and_confirmed(shell: Shell, bucket: tuple[str, list[str]]) -> None:
    place, text = bucket
    shell.environment |= {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": place,
        "REMEDIATE_POLICY": "gs://rules/policy.yaml",
    }
    sha256 = hashlib.sha256(GRANTS.encode()).hexdigest()
    confirm = ("policy", "confirm", sha256, *WHY, "--as")
    shown = shell.run("policy", "confirm")
    assert f"gs://rules/policy.yaml  {sha256}\n    grants: everything when true\nNot confirmed" in shown
    assert f"remediate policy confirm {sha256} --reason '...' --as you@example.com\n" in shown
    assert f"Not confirmed yet: user:{ANA} asked for it" in shell.run(*confirm, ANA)
    assert f"Not confirmed yet: user:{ANA} asked for it" in shell.run(*confirm, ANA)
    assert rows(shell)["policy"] == f"asked: text {sha256[:12]}"
    text[0] += "# changed after it was asked for\n"
    assert f"{sha256!r} is not the SHA-256 of gs://rules/policy.yaml" in shell.run(*confirm, BO, code=2)
    text[0] = GRANTS
    assert "is not the SHA-256" in shell.run("policy", "confirm", sha256[:12], *WHY, "--as", BO, code=2)
    assert "Confirmed: its rules can grant." in shell.run(*confirm, BO)
    assert "switched alone" not in shell.run("policy", "confirm")
    assert "Confirmed already" in shell.run(*confirm, BO)
    assert "0 broken" in shell.run("trail", "verify")
    assert f"text {sha256[:12]} confirmed" in shell.run("trail", "mode")
    text[0] = GRANTS.replace("grant", "ask")
    assert "needs no confirmation: none of its rules grants" in shell.run("policy", "confirm")
    text[0] = GRANTS + "\n"
    assert "Not confirmed: " in shell.run("policy", "confirm")
    own = hashlib.sha256(text[0].encode()).hexdigest()
    alone = shell.run("policy", "confirm", own, *WHY, "--as", BO, REMEDIATE_OPERATORS=BO)
    assert f"switched alone: user:{BO} is an operator here" in alone
    assert "REMEDIATE_POLICY_CONFIRMED names it" in shell.run("policy", "confirm", REMEDIATE_POLICY_CONFIRMED=own)
    assert "expected 64 hexadecimal digits" in shell.run("mode", code=2, REMEDIATE_POLICY_CONFIRMED=own[:12])


def test_a_file_needs_no_confirmation(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(GRANTS)
    output = shell.run("policy", "confirm", REMEDIATE_POLICY=str(tmp_path / "policy.yaml"))
    assert "needs no confirmation: it is a file that an operator deployed" in output
    assert "REMEDIATE_POLICY is not set" in shell.run("policy", "confirm", code=2)


def test_on_a_shared_ledger_as_only_repeats_who_you_are(shell: Shell, firestore: str, tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    email = "bot@ops-prj.iam.gserviceaccount.com"
    content = {"type": "service_account", "client_email": email, "private_key": pem, "token_uri": "http://127.0.0.1:9/"}
    (tmp_path / "credentials.json").write_text(json.dumps(content))
    shell.environment |= {
        "REMEDIATE_LEDGER": firestore,
        "FIRESTORE_EMULATOR_HOST": os.environ["FIRESTORE_EMULATOR_HOST"],
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "credentials.json"),
        "REMEDIATE_LOCAL_REVIEWER": email,  # on a shared ledger nobody is an operator by that
    }
    wrong = shell.run("mode", "enforce", *WHY, "--as", ANA, code=2)
    assert ANA in wrong
    assert email in wrong
    for same in ((), ("--as", email.upper().replace("GSERVICEACCOUNT.COM", "gserviceaccount.com"))):
        output = shell.run("mode", "enforce", *WHY, *same)
        assert f"everywhere: not switched yet. serviceAccount:{email} asked for enforce" in output
    assert "runs as the service itself" in shell.run("mode", "enforce", *WHY, code=1, CLOUD_RUN_JOB="sweep")
