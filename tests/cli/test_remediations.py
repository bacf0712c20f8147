"""What a reviewer types: list, show, approve, reject, trail; on a real ledger and a real (small) Google Cloud."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.shell import REVIEWER, Shell
from tests.sandbox_fixture import AGENT, DEPLOYER, IMAGE, REPOSITORY, SandboxProcess


def test_a_list_is_what_was_promised(shell: Shell) -> None:
    found = {each["id"]: each for each in shell.json("list")}
    deployer, agent = (found[ident] for ident in shell.ids)
    promised = {
        "id",
        "state",
        "repository",
        "member",
        "role",
        "reader",
        "rule",
        "reasons",
        "denials",
        "first_seen",
        "last_seen",
    }
    assert promised <= deployer.keys()
    assert (deployer["state"], deployer["member"], deployer["reader"], deployer["denials"]) == (
        "proposed",
        DEPLOYER,
        "deployer",
        1,
    )
    assert (agent["member"], agent["reader"], agent["predicted"], agent["denials"]) == (AGENT, "service_agent", True, 0)
    assert {each["repository"] for each in found.values()} == {REPOSITORY}
    assert {each["role"] for each in found.values()} == {"roles/artifactregistry.reader"}


def test_a_list_is_filtered(shell: Shell) -> None:
    assert len(shell.json("list", "--state", "proposed", "--repository", "containers")) == 2
    assert [each["member"] for each in shell.json("list", "--member", "github")] == [DEPLOYER]
    assert shell.json("list", "--state", "granted") == []
    assert "No remediation matches" in shell.run("list", "--state", "granted")
    rows = list(csv.DictReader(io.StringIO(shell.run("list", "--format", "csv"))))
    assert {row["id"] for row in rows} == set(shell.ids)


@pytest.mark.parametrize("columns", ["60", "400"])
def test_a_table_shows_whole_values_at_any_width(shell: Shell, columns: str) -> None:
    shown = shell.run("list", COLUMNS=columns)
    assert all(value in shown for value in (*shell.ids, DEPLOYER, AGENT, REPOSITORY))


def test_show_tells_the_whole_story_of_one(shell: Shell) -> None:
    story = shell.run("show", shell.ids[0])
    for part in (
        DEPLOYER,
        REPOSITORY,
        "cross_project: The image is in a different project",
        IMAGE,
        shell.ids[1],
        "approve",
    ):
        assert part in story
    assert [each["after"] for each in shell.json("show", shell.ids[0])["trail"]] == ["proposed"]


def test_approving_both_writes_two_members_and_says_so(shell: Shell, sandbox_server: SandboxProcess) -> None:
    told = shell.run("approve", *shell.ids, "--as", REVIEWER, "--reason", "known pipeline")
    assert told.count("granted: roles/artifactregistry.reader to serviceAccount:") == 2
    assert "nothing else in its policy changed" in told
    assert "Retry the deploy in 2 minutes" in told
    assert set(sandbox_server.readers()) >= {DEPLOYER, AGENT}
    assert {each["state"] for each in shell.json("list")} == {"granted"}
    steps = shell.json("trail")
    assert [step["note"] for step in steps if step["actor"] == f"user:{REVIEWER}"] == ["known pipeline"] * 2
    assert "nothing changed" in shell.run("approve", shell.ids[0], "--as", REVIEWER)


def test_approving_one_names_the_partner_that_is_left(shell: Shell) -> None:
    assert f"remediate approve {shell.ids[1]}" in shell.run("approve", shell.ids[0][2:8], "--as", REVIEWER)


@pytest.mark.parametrize("refused", [DEPLOYER.partition(":")[2], REVIEWER])
def test_after_a_refused_approval_no_command_is_offered(shell: Shell, refused: str) -> None:
    """Refused for who types, and for what changed since it was shown."""
    content = "" if refused != REVIEWER else "@000000000000"
    told = shell.run("approve", f"{shell.ids[0]}{content}", "--as", refused, code=1)
    assert "not approved" in told
    assert "remediate approve" not in told
    assert "The same deploy also needs" not in told


def test_a_partner_that_was_refused_beside_a_grant_is_not_offered(shell: Shell) -> None:
    told = shell.run("approve", shell.ids[0], f"{shell.ids[1]}@000000000000", "--as", REVIEWER, code=1)
    assert f"{shell.ids[0]}  granted" in told
    assert "remediate approve" not in told


def test_rejecting_is_final_and_says_why(shell: Shell, sandbox_server: SandboxProcess) -> None:
    shell.run("reject", shell.ids[0], "--as", REVIEWER, "--reason", "use your own registry")
    assert "it cannot be approved" in shell.run("approve", shell.ids[0], "--as", REVIEWER, code=1)
    assert "use your own registry" in shell.run("show", shell.ids[0])
    assert DEPLOYER not in sandbox_server.readers()


def test_nobody_approves_their_own_deploy(shell: Shell, sandbox_server: SandboxProcess) -> None:
    for ident in shell.ids:
        assert "own deploy" in shell.run("approve", ident, "--as", DEPLOYER.partition(":")[2], code=1)
    assert sandbox_server.requests(":setIamPolicy") == 0


def test_only_reviewers_review_where_they_are_named(shell: Shell) -> None:
    told = shell.run("approve", shell.ids[0], "--as", REVIEWER, code=1, REMEDIATE_REVIEWERS="security@example.com")
    assert "is not a reviewer" in told
    shell.run("approve", shell.ids[0], "--as", REVIEWER, REMEDIATE_REVIEWERS="security@example.org,example.com")


def test_an_outage_at_approval_loses_nothing(shell: Shell, sandbox_server: SandboxProcess) -> None:
    sandbox_server.faults({"match": "setIamPolicy", "effect": "status", "code": 503, "times": None})
    told = shell.run("approve", shell.ids[0], "--as", REVIEWER, code=1, REMEDIATE_TIMEOUT="1")
    assert "not approved: setIamPolicy" in told
    sandbox_server.faults()
    shell.run("approve", shell.ids[0], "--as", REVIEWER)
    assert sandbox_server.readers().count(DEPLOYER) == 1
    assert [each["after"] for each in shell.json("trail", shell.ids[0])] == ["proposed", "approved", "granted"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["show", "r-ffffffffffff"], "r-ffffffffffff"),
        (["show", "r-"], "'r-'"),
        (["show", "*"], "'*'"),
        (["approve", "r-ffffffffffff", "--as", REVIEWER], "r-ffffffffffff"),
        (["approve", "FIRST"], "--as"),
        (["approve", "FIRST", "--as", "somebody"], "somebody"),
        (["approve", "FIRST", "--as", "allUsers"], "allUsers"),
        (["reject", "FIRST", "--as", REVIEWER], "--reason"),
        (["list", "--state", "open"], "proposed"),
        (["list", "--limit", "0"], "--limit"),
        (["trail", "--format", "xml"], "xml"),
        (["trail", "--state", "nonsense"], "proposed"),
        (["trail", "--since", "0001-01-01T00:00:00+23:59"], "--since"),
        (["show", "FIRST", "--format", "csv"], "csv"),
        (["show", "\udcff"], "is not an id"),
        (["list", "--member", "\udcff"], "not UTF-8"),
    ],
)
def test_bad_input_is_named_and_exits_2(shell: Shell, arguments: list[str], named: str) -> None:
    words = [shell.ids[0] if word == "FIRST" else word for word in arguments]
    assert named in shell.run(*words, code=2)


def test_a_ledger_that_cannot_be_used_is_named(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = shell.run("list", code=2, REMEDIATE_LEDGER=f"sqlite:///{tmp_path / 'file' / 'ledger.db'}")
    assert "ledger.db" in told


def test_a_grant_for_a_time_says_when_it_ends_and_a_revocation_takes_it_away(
    shell: Shell, sandbox_server: SandboxProcess
) -> None:
    before = sandbox_server.policies()[REPOSITORY]["bindings"]
    assert "until 20" in shell.run("approve", shell.ids[0], "--as", REVIEWER, "--for", "30d")
    assert "It expires at" in shell.run("show", shell.ids[0])
    told = shell.run("revoke", shell.ids[0], "--as", REVIEWER, "--reason", "moved")
    assert "no longer has access to" in told
    assert sandbox_server.policies()[REPOSITORY]["bindings"] == before
    assert "it cannot be revoked" in shell.run("revoke", shell.ids[0], "--as", REVIEWER, "--reason", "x", code=1)


@pytest.mark.parametrize("duration", ["", "30", "d", "0d", "1y", "-3d"])
def test_a_duration_that_is_none_is_named(shell: Shell, duration: str) -> None:
    assert "as in 12h, 30d or 8w" in shell.run("approve", shell.ids[0], "--as", REVIEWER, "--for", duration, code=2)


def test_a_sweep_says_each_change_in_a_line(shell: Shell, sandbox_server: SandboxProcess) -> None:
    assert shell.run("sweep") == ""
    shell.run("approve", shell.ids[0], "--as", REVIEWER)
    policy = sandbox_server.policies()[REPOSITORY]
    policy["bindings"][0]["members"].remove(DEPLOYER)
    assert sandbox_server.call("POST", f"/v1/{REPOSITORY}:setIamPolicy", {"policy": policy})[0] == 200
    [line] = shell.run("sweep").splitlines()
    assert (json.loads(line)["before"], json.loads(line)["state"]) == ("granted", "removed")
    assert shell.run("sweep") == ""


def test_a_tampered_trail_is_told_at_its_first_broken_link(shell: Shell) -> None:
    import sqlite3

    assert "2 hash chains checked, 0 broken" in shell.run("trail", "verify")
    path = shell.environment["REMEDIATE_LEDGER"].removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE trail SET record = replace(record, 'remediate', 'somebody') WHERE number = 1")
        connection.execute("DELETE FROM trail WHERE number = 2")
    told = shell.run("trail", "verify", code=1)
    assert "record 1 was changed after it was written" in told
    assert "record 1 of 1 is missing at the end" in told
    assert "2 broken" in told


def test_the_trail_is_filtered(shell: Shell) -> None:
    shell.run("approve", shell.ids[0], "--as", REVIEWER)
    assert len(shell.json("trail")) == 4
    assert [each["after"] for each in shell.json("trail", "--actor", "platform-lead")] == ["approved"]
    assert [each["member"] for each in shell.json("trail", "--state", "granted")] == [DEPLOYER]
    assert len(shell.json("trail", "--member", "serverless-robot-prod")) == 1
    assert len(shell.json("trail", "--repository", "containers")) == 4
    middle = shell.json("trail", "--state", "approved")[0]["at"]
    assert [each["after"] for each in shell.json("trail", "--since", middle)] == ["approved", "granted"]
    assert [each["after"] for each in shell.json("trail", "--until", middle)] == ["proposed", "proposed"]
    assert shell.json("trail", "--until", "2020-01-01") == []
    assert "--since 'yesterday'" in shell.run("trail", "--since", "yesterday", code=2)


def test_show_tells_the_binding_and_names_the_content(shell: Shell, sandbox_server: SandboxProcess) -> None:
    story = shell.run("show", shell.ids[0])
    assert f"  + {DEPLOYER}" in story
    found = shell.json("show", shell.ids[0])
    assert found["policy"]["after"] == [*found["policy"]["before"], DEPLOYER]
    assert sorted(found["policy"]["before"]) == sorted(sandbox_server.readers())
    one, both = (line for line in story.splitlines() if "remediate approve" in line)
    pinned = f"{shell.ids[0]}@{found['content']}"
    assert one == f"  remediate approve {pinned} --as you@example.com  # this one alone"
    assert f"  remediate approve {pinned} {shell.ids[1]}@" in both
    assert both.endswith("  # both that the deploy needs")
    assert "(@... pins what you just read; if it changed, the approval is refused):" in story
    [alone] = [line for line in shell.run("show", shell.ids[1]).splitlines() if "remediate approve" in line]
    assert "#" not in alone
    said = shell.run("approve", f"{shell.ids[0]}@000000000000", "--as", REVIEWER, code=1)
    assert f"changed since you saw it: its content is now {found['content']}" in said
    assert DEPLOYER not in sandbox_server.readers()
    shell.run("approve", f"{shell.ids[0][:6]}@{found['content']}", "--as", REVIEWER)
    assert DEPLOYER in sandbox_server.readers()


def test_a_story_is_told_without_google_cloud_too(shell: Shell, sandbox_server: SandboxProcess) -> None:
    sandbox_server.close()
    story = shell.run("show", shell.ids[0], REMEDIATE_TIMEOUT="1")
    assert "reader binding is unknown: getIamPolicy" in story


def test_all_that_match_are_listed_before_they_are_approved(shell: Shell, sandbox_server: SandboxProcess) -> None:
    said = shell.run("approve", "--all-matching", "platform-images", "--as", REVIEWER, code=2)
    assert all(ident in said for ident in shell.ids)
    assert "2 proposals match; add --yes" in said
    assert DEPLOYER not in sandbox_server.readers()
    for wrong in ("state=proposed", " "):
        assert "expected a part of" in shell.run("approve", "--all-matching", wrong, "--as", REVIEWER, code=2)
    assert "no proposal matches" in shell.run("approve", "--all-matching", "nobody", "--as", REVIEWER, code=2)
    assert "expected ids, or --all-matching FILTER" in shell.run("approve", "--as", REVIEWER, code=2)
    shell.run("approve", "--all-matching", "member=github-,repository=CONTAINERS", "--yes", "--as", REVIEWER)
    assert DEPLOYER in sandbox_server.readers()
    assert AGENT not in sandbox_server.readers()


def test_the_mode_is_switched_shown_and_on_the_trail(shell: Shell) -> None:
    shell.environment["REMEDIATE_LOCAL_REVIEWER"] = REVIEWER  # with the embedded ledger, an operator
    assert "not set" in shell.run("mode")
    assert "--reason is required" in shell.run("mode", "enforce", "--as", REVIEWER, code=2)
    said = shell.run("mode", "enforce", "--as", REVIEWER, "--reason", "the pilot is over", REMEDIATE_MODE="dry-run")
    assert "REMEDIATE_MODE=dry-run overrides it" in said
    shell.run("mode", "dry-run", "--scope", "folders/310000000001", "--as", REVIEWER, "--reason", "an incident")
    shown = {each["scope"]: each for each in shell.json("mode")}
    assert shown["everywhere"]["mode"] == "enforce"
    assert (shown["folders/310000000001"]["by"], shown["folders/310000000001"]["why"]) == (
        f"user:{REVIEWER}",
        "an incident",
    )
    changes = [each for each in shell.json("trail") if "scope" in each]
    assert changes == shell.json("trail", "mode")
    assert [each["scope"] for each in changes] == ["everywhere", "folders/310000000001"]
    assert "Still in dry-run, where these overlap: folders/310000000001" in shell.run(
        "mode", "enforce", "--scope", "organizations/400000000001", "--as", REVIEWER, "--reason", "x"
    )
    shell.run("mode", "clear", "--scope", "folders/310000000001", "--as", REVIEWER, "--reason", "over")
    assert "has no switch" in shell.run("mode", "--scope", "folders/310000000001")
    assert "not a scope; accepted" in shell.run("mode", "enforce", "--scope", "shop", "--reason", "x", code=2)
    assert "3 hash chains checked, 0 broken" in shell.run("trail", "verify")
    assert "takes no filter" in shell.run("trail", "verify", "--actor", "ana", code=2)


def test_the_trail_is_filtered_by_project_and_outcome(shell: Shell) -> None:
    assert len(shell.json("trail", "--project", "shop-frontend")) == 2
    assert len(shell.json("trail", "--project", "platform-images")) == 2
    assert shell.json("trail", "--project", "shop") == []
    assert len(shell.json("trail", "--outcome", "ask")) == 2
    assert "Nothing in the audit trail matches." in shell.run("trail", "--outcome", "grant")
    assert "expected one of grant, ask, refuse, ignore" in shell.run("trail", "--outcome", "yes", code=2)


def test_a_sweep_picks_up_what_never_arrived(sandbox_server: SandboxProcess, tmp_path: Path) -> None:
    environment = {"REMEDIATE_LEDGER": f"sqlite:///{tmp_path / 'swept.db'}"}
    shell = Shell.__new__(Shell)
    shell.environment = sandbox_server.env | environment
    sandbox_server.deploy()
    assert "--since needs a scope" in shell.run("sweep", "--since", "1d", code=2)
    shell.environment["REMEDIATE_ORGANIZATION"] = "400000000001"
    for _ in range(2):
        lines = [json.loads(line) for line in shell.run("sweep", "--since", "1d").splitlines()]
        if lines:
            assert {line["trail"]["after"] for line in lines} == {"proposed"}
            assert {line["member"] for line in lines} == {DEPLOYER, AGENT}
    assert lines == []
    assert len(shell.json("list")) == 2
    assert "Permission" in shell.run("sweep", "--since", "1d", "--scope", "projects/nobody-s", code=1)
    assert "these credentials see no project in it" in shell.run(
        "sweep", "--since", "1d", "--scope", "folders/7", code=2
    )
    for wrong in ("soon", "2999-01-01"):
        assert f"--since '{wrong}'" in shell.run("sweep", "--since", wrong, code=2)
    assert "--scope requires --since" in shell.run("sweep", "--scope", "projects/shop-frontend", code=2)


def test_a_sweep_reads_the_log_of_each_project_in_its_scopes(sandbox_server: SandboxProcess, tmp_path: Path) -> None:
    """Logs are kept by project: an organization's own log has nothing of the projects beneath it."""
    shell = Shell.__new__(Shell)
    shell.environment = sandbox_server.env | {"REMEDIATE_LEDGER": f"sqlite:///{tmp_path / 'swept.db'}"}
    sandbox_server.deploy()
    assert shell.run("sweep", "--since", "1d", "--scope", "folders/310000000002") == ""
    both = ("--scope", "folders/310000000002", "--scope", "folders/310000000001")
    assert len(shell.run("sweep", "--since", "1d", *both).splitlines()) == 2
    assert sandbox_server.call("POST", "/v2/entries:list", {"resourceNames": ["organizations/400000000001"]})[1] == {
        "entries": []
    }


def test_time_can_be_tried_out_with_the_embedded_ledger(shell: Shell, sandbox_server: SandboxProcess) -> None:
    shell.run("approve", shell.ids[0], "--as", REVIEWER, "--for", "30d")
    assert shell.run("sweep") == ""
    lines = [json.loads(line) for line in shell.run("sweep", "--as-of", "2999-01-01").splitlines()]
    assert {(line["remediation"], line["state"]) for line in lines} == {
        (shell.ids[0], "expired"),
        (shell.ids[1], "lapsed"),
    }
    assert DEPLOYER not in sandbox_server.readers()
    shared = {"REMEDIATE_LEDGER": "firestore://p/d"}
    assert "SQLite ledger only" in shell.run("sweep", "--as-of", "2999-01-01", code=2, **shared)


def test_what_the_same_deploy_needs_too_is_shown_and_named_by_its_content(shell: Shell) -> None:
    story = shell.run("show", shell.ids[0])
    agent = shell.json("show", shell.ids[1])
    assert f"The same deploy also needs {shell.ids[1]} (proposed): {AGENT}" in story
    assert f" {shell.ids[1]}@{agent['content']} " in story
    assert shell.ids[0] not in shell.run("show", shell.ids[1])  # never another deployer's own grant beside the agent's
    shell.run("reject", shell.ids[1], "--as", REVIEWER, "--reason", "no")
    assert shell.ids[1] not in shell.run("show", shell.ids[0])


@pytest.mark.parametrize("wrong", ["member=", ",", "member=,repository=x", "", "a,", "owner=x"])
def test_a_filter_with_an_empty_part_approves_nothing(shell: Shell, wrong: str) -> None:
    assert "expected a part of" in shell.run("approve", "--all-matching", wrong, "--yes", "--as", REVIEWER, code=2)
    assert {each["state"] for each in shell.json("list")} == {"proposed"}


def test_a_content_is_not_overridden_by_the_same_id_without_one(shell: Shell) -> None:
    stale = f"{shell.ids[0]}@000000000000"
    said = shell.run("approve", stale, shell.ids[0], "--as", REVIEWER, code=1)
    assert "changed since you saw it" in said
    assert f"Review it again: remediate show {shell.ids[0]}" in said
    other = f"{shell.ids[0]}@111111111111"
    assert "given twice, with different contents" in shell.run("approve", stale, other, "--as", REVIEWER, code=2)


def test_empty_words_are_not_taken(shell: Shell) -> None:
    for command in (["reject", shell.ids[0]], ["revoke", shell.ids[0]]):
        assert "the audit trail needs a reason" in shell.run(*command, "--as", REVIEWER, "--reason", " ", code=2)
    said = shell.run("mode", "enforce", "--scope", "", "--reason", "x", "--as", REVIEWER, code=2)
    assert "'' is not a scope" in said
    assert "--as-of ''" in shell.run("sweep", "--as-of", "", code=2)
    assert "before the year 1" in shell.run(
        "sweep", "--as-of", "0001-01-02", "--since", "9w", "--scope", "projects/shop-frontend", code=2
    )
    assert "only --actor, --since and --until" in shell.run("trail", "mode", "--member", "x", code=2)


def test_a_mistyped_ledger_is_named_not_made(shell: Shell, tmp_path: Path) -> None:
    missing = tmp_path / "typo" / "ledger.db"
    said = shell.run("list", code=2, REMEDIATE_LEDGER=f"sqlite:///{missing}")
    assert f"there is no ledger at {missing}" in said
    assert not missing.parent.exists()


@pytest.mark.parametrize(
    ("tampering", "told"),
    [
        ("UPDATE remediations SET record = replace(record, '\"state\":\"granted\"', '\"state\":\"revoked\"')", "is revoked"),
        ("UPDATE remediations SET record = replace(record, '\"approver\":\"user:platform-lead', '\"approver\":\"user:x')", "as approver"),
        ("UPDATE remediations SET record = replace(record, '\"ours\":true', '\"ours\":false')", "terms"),
        ("UPDATE remediations SET state = 'revoked' WHERE id = '{0}'", "indexed under another state"),
        ("UPDATE trail SET remediation = 'r-zzz' WHERE remediation = '{0}'", "is missing"),
        ("UPDATE trail SET record = '{{}}' WHERE remediation = '{0}' AND seq = 2", "cannot be read"),
        ("DELETE FROM remediations WHERE id = '{0}'", "the remediation of this trail is missing"),
        ("INSERT INTO modes VALUES (1, 1, '{{\"switches\":{{\"everywhere\":\"enforce\"}},\"version\":1}}')", "mode  broken"),
    ],
)  # fmt: skip
def test_tampering_with_the_store_is_told(shell: Shell, tampering: str, told: str) -> None:
    import sqlite3

    shell.run("approve", shell.ids[0], "--as", REVIEWER)
    path = shell.environment["REMEDIATE_LEDGER"].removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE remediations SET record = CAST(record AS TEXT)")
        connection.execute(tampering.format(shell.ids[0]))
    said = shell.run("trail", "verify", code=1)
    assert told in said
    assert "Traceback" not in said
