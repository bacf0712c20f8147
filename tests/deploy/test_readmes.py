"""What the READMEs, docs/operations.md and docs/first-apply.md say about a first apply: the same, in real commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from remediate.cli.app import app
from tests.gcloud_parser import command_lines, gcloud_faults
from tests.sandbox_fixture import ROOT

README = (ROOT / "README.md").read_text()
DEPLOY = (ROOT / "deploy" / "README.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
CHECKLIST = (ROOT / "docs" / "first-apply.md").read_text()
REGIONS = {"us-central1", "us-west2", "europe-west1", "asia-east1", "australia-southeast1", "southamerica-east1"}
"""Where a new project may build. Source: "Cloud Build locations", restricted regions for some projects."""


def _roles(text: str) -> set[str]:
    return set(re.findall(r"`(roles/[\w.]+)`", text))


def test_both_readmes_name_the_same_roles_of_the_person_who_installs() -> None:
    first = _roles(README.partition("## Deploy it")[2].partition("```sh")[0])
    second = _roles(DEPLOY.partition("The person who runs Terraform needs")[2].partition("\n## ")[0])
    assert {"roles/owner", "roles/storage.admin", "roles/iam.organizationRoleAdmin"} <= first
    # For deny_policy and kms_key alone, which are off by default.
    assert second - first == {"roles/iam.denyAdmin", "roles/cloudkms.admin"}


def test_the_commands_before_an_apply_enable_the_api_of_roles_and_name_the_quota_project() -> None:
    [block] = [each for each in re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S) if "terraform.tfvars" in each]
    [enabled] = [each for each in block.splitlines() if each.startswith("gcloud services enable")]
    assert {"cloudresourcemanager.googleapis.com", "iam.googleapis.com", "serviceusage.googleapis.com"} <= set(
        enabled.split()
    )
    quota = "gcloud auth application-default set-quota-project"
    variables = ("USER_PROJECT_OVERRIDE=true", "GOOGLE_BILLING_PROJECT=")
    lines = block.splitlines()
    assert lines.index("gcloud auth application-default login") < lines.index(f"{quota} remediate-ops")
    assert all(each in block.partition("terraform -chdir")[0] for each in variables)
    for text in (DEPLOY, OPERATIONS):
        assert all(each in text for each in (quota, *variables))


def test_where_new_projects_may_build_is_said_with_what_a_restricted_organization_sets() -> None:
    [text] = [each for each in DEPLOY.split("\n* ") if each.startswith("New projects may build")]
    assert set(re.findall(r"\b[a-z]+-[a-z]+[0-9]+\b", text)) == REGIONS
    assert "`gcp.resourceLocations`" in text
    assert "`build_region`" in text
    rows = [each for each in OPERATIONS.splitlines() if each.startswith("|") and "build_region" in each]
    assert any("cannot run builds in this region" in each for each in rows)
    assert any("gcp.resourceLocations" in each for each in rows)


@pytest.mark.parametrize("page", ["README.md", "docs/first-apply.md"])
def test_gcloud_takes_every_command_of_the_page(page: str, tmp_path: Path) -> None:
    named = re.sub(r"=(?:IMAGE_PROJECT|\"\$project\")", "=remediate-ops", (ROOT / page).read_text())
    lines = command_lines(named)
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("gcloud ")]
    assert len(commands) > 4
    assert gcloud_faults(commands, tmp_path) == {}


def test_gcloud_refuses_a_wrong_command(tmp_path: Path) -> None:
    wrong = [["projects", "get-iam-policy"], ["run", "deploy", "x", "--imagine=y"], ["run", "depoly"]]
    assert len(gcloud_faults([*wrong, ["projects", "list"]], tmp_path)) == len(wrong)


def test_every_other_command_of_the_checklist_is_one_that_there_is() -> None:
    lines = [line for line in command_lines(CHECKLIST) if not line.startswith("gcloud ")]
    assert {line.partition(" ")[0].partition("=")[0] for line in lines} == {
        "build", "curl", "export", "grep", "image", "remediate", "terraform", "try",
    }  # fmt: skip
    command = typer.main.get_command(app)
    for words in (shlex.split(line)[1:] for line in lines if line.startswith("remediate ")):
        assert isinstance(command, TyperGroup)
        if words != ["--version"]:
            command.commands[words[0]].make_context(words[0], words[1:])
    assert {line.split()[1:3][-1] for line in lines if line.startswith("terraform -chdir=deploy")} == {
        "apply", "init", "output", "plan",
    }  # fmt: skip


def test_the_checklist_is_reachable() -> None:
    for page, link in (
        (README, "docs/first-apply.md"),
        (DEPLOY, "../docs/first-apply.md"),
        (OPERATIONS, "first-apply.md"),
    ):
        assert f"]({link})" in page
    for target, anchor in re.findall(r"\]\(([\w/.-]*)#([\w-]+)\)", CHECKLIST):
        titles = re.findall(r"^#+ (.*)$", (ROOT / "docs" / target).read_text(), re.M)
        assert anchor in {title.lower().replace(" ", "-") for title in titles}, (target, anchor)
