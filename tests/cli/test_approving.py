"""`approve` and `show`: what the log has, two approvals, a declaration, and Google's own words."""

from __future__ import annotations

from typing import Any

from remediate.settings import load_settings
from remediate.wiring import remediator_from
from tests.audit_entries import activity, agent_text, denial, system_event, user_text
from tests.cli.shell import REVIEWER, Shell
from tests.sandbox_fixture import AGENT, DEPLOYER, IMAGE, SandboxProcess

WAITING = "1 of 2 approvals: ana@example.com approved; a second reviewer must approve"


def handle(shell: Shell, entry: dict[str, Any]) -> str:
    record = remediator_from(load_settings(shell.environment)).handle(denial(entry)).remediation
    assert record
    return record.id


def unknown(sandbox: SandboxProcess, shell: Shell) -> str:
    """A proposal of which the log does not say who deployed."""
    entry = system_event(agent_text(OTHER), images=(OTHER,)) | {"insertId": "event"}
    sandbox.log(entry)
    return handle(shell, entry)


OTHER = "asia-northeast1-docker.pkg.dev/platform-images/mirror/shop/web:today"


def test_all_that_match_are_one_look_up(sandbox_server: SandboxProcess, shell: Shell) -> None:
    for email in ("ana@example.com", "security@example.com"):
        entry = activity(user_text(IMAGE), images=(IMAGE,), email=email, insert_id=email)
        sandbox_server.log(entry)
        handle(shell, entry)
    before = sandbox_server.requests("entries:list")
    text = shell.run("approve", "--all-matching", "platform-images", "--yes", "--as", REVIEWER)
    assert text.count("granted:") == 4
    assert sandbox_server.requests("entries:list") == before + 1


def test_what_is_not_in_the_log_is_told_by_show_and_refused(shell: Shell) -> None:
    ident = handle(shell, activity(user_text(IMAGE), images=(IMAGE,), email="x@example.com", insert_id="forged"))
    assert "it may be forged" in shell.run("show", ident)
    assert shell.json("show", ident)["verified"] is False
    text = shell.run("approve", ident, "--as", REVIEWER, code=1)
    assert "is now refused: Cloud Logging has no such entry" in text


def test_where_the_log_may_not_be_asked_show_says_so_before_and_approve_after(
    sandbox_server: SandboxProcess, shell: Shell
) -> None:
    sandbox_server.faults({"match": "entries:list", "effect": "status", "code": 403, "times": None})
    assert "Caution, event_unverified:" in shell.run("show", shell.ids[0])
    assert shell.json("show", shell.ids[0])["verified"] is None
    text = shell.run("approve", "--all-matching", DEPLOYER, "--yes", "--as", REVIEWER)
    assert text.index("event_unverified") < text.index("granted:")
    assert "event_unverified" in shell.json("show", shell.ids[0])["reasons"]


def test_a_first_of_two_approvals_is_told_and_the_second_grants(sandbox_server: SandboxProcess, shell: Shell) -> None:
    ident = unknown(sandbox_server, shell)
    assert "It needs 2 different approvers: the log does not say who deployed." in shell.run("show", ident)
    assert WAITING in shell.run("approve", ident, "--as", "ana@example.com")
    assert WAITING in shell.run("show", ident)
    assert WAITING in shell.run("approve", ident, "--as", "ana@example.com")
    text = shell.run("approve", ident, "--as", "bo@example.org")
    assert f"granted: roles/artifactregistry.reader to {AGENT}" in text
    text = shell.run("show", ident)
    assert "by user:ana@example.com  (approval 1 of 2)" in text
    assert "by user:bo@example.org  (approval 2 of 2)" in text
    assert "0 broken" in shell.run("trail", "verify")


def test_a_declaration_is_enough_by_setting(sandbox_server: SandboxProcess, shell: Shell) -> None:
    ident = unknown(sandbox_server, shell)
    shell.environment["REMEDIATE_UNKNOWN_DEPLOYER"] = "declare"
    assert "One approver is enough if they declare with --not-mine" in shell.run("show", ident)
    assert "granted:" in shell.run("approve", ident, "--as", "ana@example.com", "--not-mine")
    assert "declared that they did not deploy" in shell.run("show", ident)


def test_googles_own_words_come_first(sandbox_server: SandboxProcess, shell: Shell) -> None:
    sandbox_server.faults({"match": ":setIamPolicy", "effect": "status", "code": 403, "times": None})
    text = shell.run("approve", shell.ids[0], "--as", REVIEWER, code=1)
    assert "failed: Google Cloud says: " in text
    text = shell.run("show", shell.ids[0])
    assert text.index("Google Cloud refused the grant: ") < text.index("terminal_answer:")


def test_what_is_kept_for_reading_back_is_not_printed(shell: Shell) -> None:
    assert not {"named_by", "entries", "proven"} & shell.json("show", shell.ids[0]).keys()
