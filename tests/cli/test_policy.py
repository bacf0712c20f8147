"""`policy`: check, explain, test and diff, as somebody types them who writes a policy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import remediate
from tests.sandbox_fixture import ROOT, SandboxProcess

READY = ROOT / "deploy" / "policies"
EXPORT = str(ROOT / "examples" / "denials.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the ready policies, to change."""
    return Path(shutil.copytree(READY, tmp_path / "policies"))


def test_check_names_file_line_and_column(folder: Path) -> None:
    path = folder / "platform-images.yaml"
    assert "2 rules, valid" in remediate("policy", "check", str(path))
    path.write_text(path.read_text().replace("member.kind ==", "member.kin =="))
    told = remediate("policy", "check", str(path), code=2)
    assert f"{path}:6:17: rule 'nobody deploys by hand': undeclared reference to 'member.kin'" in told
    assert "accepted: deploy.project" in told
    assert "No such file" in remediate("policy", "check", str(folder / "nothing.yaml"), code=2)


def test_the_schema_is_one() -> None:
    schema = json.loads(remediate("policy", "schema"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_explain_tells_what_each_rule_says_and_saw() -> None:
    told: Any = json.loads(
        remediate("policy", "explain", str(READY / "platform-images.yaml"), EXPORT, "--format", "json")
    )
    first = told[0]
    assert (first["outcome"], first["rule"], first["reasons"]) == (
        "ask",
        "platform images",
        ["cross_project", "evidence_unknown"],
    )
    assert [(rule["rule"], rule["says"]) for rule in first["rules"]] == [
        ("nobody deploys by hand", False),
        ("platform images", None),
    ]
    assert first["rules"][1]["saw"]["deploy.ancestors"] is None
    table = remediate("policy", "explain", str(READY / "platform-images.yaml"), EXPORT)
    assert "deploy.ancestors = unknown" in table
    assert "contains no image-read denial" in remediate(
        "policy", "explain", str(READY / "before-2025.yaml"), os.devnull, code=2
    )


def test_cases_are_run_and_what_they_do_not_reach_is_named(folder: Path) -> None:
    told = remediate("policy", "test", str(folder / "platform-images.yaml"))
    assert "8 cases, 0 failed; 2 of 2 rules reached" in told
    assert told == remediate("policy", "test", str(folder / "platform-images.test.yaml"))
    policy = folder / "before-2025.yaml"
    policy.write_text(policy.read_text().replace("evidence.same_project && ", "evidence.same_project == false && "))
    told = remediate("policy", "test", str(policy), code=1)
    assert "expected grant, got ask" in told
    assert "8 cases, 6 failed" in told
    found = json.loads(
        remediate("policy", "test", str(folder / "by-a-person.yaml"), "--cases", str(folder / "by-a-person.test.yaml"), "--format", "json")
    )  # fmt: skip
    assert (found["failed"], found["unreached"]) == (0, [])
    (folder / "by-a-person.test.yaml").unlink()
    assert "by-a-person.test.yaml: No such file" in remediate(
        "policy", "test", str(folder / "by-a-person.yaml"), code=2
    )


def test_diff_names_the_denials_that_would_be_decided_differently() -> None:
    wider, asks = str(READY / "before-2025.yaml"), str(READY / "by-a-person.yaml")
    assert "4 denials, 0 decided differently" in remediate("policy", "diff", wider, wider, "--against", EXPORT)
    found = remediate(
        "policy", "diff", wider, asks, "--against", EXPORT, "--format", "csv", code=1, REMEDIATE_DOMAINS="example.com"
    )
    assert "user:ana@example.com" in found
    assert ",grant,same project,ask,otherwise" in found


def test_a_diff_says_what_hangs_on_what_an_export_does_not_tell(tmp_path: Path) -> None:
    for name, folder, then in (("old", 421, "grant"), ("new", 999, "refuse")):
        rule = f"{{name: teams, when: '\"folders/{folder}\" in deploy.ancestors', then: {then}}}"
        (tmp_path / f"{name}.yaml").write_text(f"rules:\n- {rule}\n")
    told = remediate("policy", "diff", str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"), "--against", EXPORT)
    assert "4 denials, 0 decided differently" in told
    assert "4 of them need data that exports lack" in told


@pytest.mark.parametrize("text", ["", "{}", "no log at all"])
def test_a_diff_against_nothing_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "export.json").write_text(text)
    policy = str(READY / "by-a-person.yaml")
    told = remediate("policy", "diff", "built-in", policy, "--against", str(tmp_path / "export.json"), code=2)
    assert "export.json" in told


def test_cases_may_say_all_that_google_cloud_says(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("rules:\n- {name: all, when: true, then: grant}\n")
    cases = {
        "repository_format: MAVEN": "refuse",
        "repository_exists: false": "refuse",
        "repository_format: null": "ask",
        "repository_mode: VIRTUAL_REPOSITORY": "ask",
        "barred: true": "ignore",
        "already_granted: true, propagating: true": "ignore",
        "redirected: false": "grant",
    }
    given = "image: us-docker.pkg.dev/shop/app/web:v1, member: user:ana@example.com, deploy: {project: shop}"
    text = "".join(
        f"- {{name: '{said}', given: {{{given}, evidence: {{{said}}}}}, expect: {{outcome: {outcome}}}}}\n"
        for said, outcome in cases.items()
    )
    (tmp_path / "p.test.yaml").write_text("cases:\n" + text)
    assert "7 cases, 0 failed; 1 of 1 rules reached" in remediate("policy", "test", str(tmp_path / "p.yaml"))


def test_a_plan_is_decided_by_the_same_file() -> None:
    by_option = remediate("plan", EXPORT, "--policy", str(READY / "by-a-person.yaml"), "--format", "json")
    by_setting = remediate("plan", EXPORT, "--format", "json", REMEDIATE_POLICY=str(READY / "by-a-person.yaml"))
    assert by_option == by_setting
    assert {each["outcome"] for each in json.loads(by_option)["grants"]} == {"ask"}
    wider = remediate(
        "plan", EXPORT, "--format", "json", "--policy", str(READY / "before-2025.yaml"), REMEDIATE_DOMAINS="example.com"
    )
    assert "grant" in {each["outcome"] for each in json.loads(wider)["grants"]}
    assert "No such file" in remediate("plan", EXPORT, "--policy", "nothing.yaml", code=2)


def test_the_roles_are_listed_and_refreshed_from_iam(tmp_path: Path, sandbox_server: SandboxProcess) -> None:
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "remediate", copy / "remediate", ignore=shutil.ignore_patterns("__pycache__"))

    def roles(*arguments: str) -> str:
        command = [sys.executable, "-m", "remediate", "roles", *arguments]
        environment = {"PATH": os.environ["PATH"], **sandbox_server.env}
        return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=True).stdout

    assert "57 predefined roles include artifactregistry.repositories.downloadArtifacts, as of 2026-08" in roles("list")
    path = copy / "remediate" / "iam" / "roles.json"
    path.write_text(path.read_text().replace("roles/viewer", "roles/retired"))
    told = roles("refresh")
    assert told.splitlines()[:2] == ["+ roles/viewer", "- roles/retired"]
    assert "roles/viewer" in json.loads(roles("list", "--format", "json"))["roles"]
