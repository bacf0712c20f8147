"""What the READMEs and docs/operations.md say about a first apply: each says the same."""

from __future__ import annotations

import re

from tests.sandbox_fixture import ROOT

README = (ROOT / "README.md").read_text()
DEPLOY = (ROOT / "deploy" / "README.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
REGIONS = {"us-central1", "us-west2", "europe-west1", "asia-east1", "australia-southeast1", "southamerica-east1"}
"""Where a new project may build. Source: "Cloud Build locations", restricted regions for some projects."""


def _roles(text: str) -> set[str]:
    return set(re.findall(r"`(roles/[\w.]+)`", text))


def test_both_readmes_name_the_same_roles_of_the_person_who_installs() -> None:
    first = _roles(README.partition("## Deploy it")[2].partition("```sh")[0])
    second = _roles(DEPLOY.partition("The person who runs Terraform needs")[2].partition("\n## ")[0])
    assert {"roles/owner", "roles/storage.admin", "roles/iam.organizationRoleAdmin"} <= first
    assert second - first == {"roles/iam.denyAdmin"}  # for deny_policy alone, which is off by default


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
