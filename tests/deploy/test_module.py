"""The Terraform module, planned on paper for every scope and mode, and held to the threat model: who may do what, where."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import Any

import hcl2
import pytest
import yaml

from remediate.entries.log_filter import DENIALS
from tests.deploy import schema
from tests.deploy.paper import (
    FIVE,
    MODES,
    ORGANIZATION,
    SCOPES,
    Paper,
    Plan,
    behind,
    containers,
    environment,
    permissions,
)
from tests.deploy.paper_cloud import api_of
from tests.sandbox_fixture import ROOT

DEPLOY = ROOT / "deploy"
SET_POLICY = "artifactregistry.repositories.setIamPolicy"
SCOPED = pytest.mark.parametrize("scope", SCOPES)
MODED = pytest.mark.parametrize("mode", MODES)


def test_it_is_formatted() -> None:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", "-diff", str(DEPLOY)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_block_is_one_that_the_provider_knows() -> None:
    if not schema.SHARED.is_dir():
        pytest.skip("the provider's schema is not beside this checkout")
    checker, known = schema.SHARED / "terraform_schema_check.py", schema.SHARED / "terraform_schema.json"
    files = sorted(DEPLOY.rglob("*.tf"))
    done = subprocess.run(
        [sys.executable, str(checker), str(known), *map(str, files)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "0 problems" in done.stdout
    assert schema.made(json.loads(known.read_text())) == json.loads(schema.WRITTEN.read_text()), "make it anew"


def test_the_provider_is_one_that_knows_iap_and_write_only_secrets() -> None:
    [needed] = hcl2.loads((DEPLOY / "versions.tf").read_text())["terraform"][0]["required_providers"]
    assert needed["google"]["version"].strip('"') == ">= 7.21, < 8.0"


def test_what_google_cloud_alone_assigns_cannot_be_given(blank_paper: Paper) -> None:
    folder = blank_paper.folder / "assigned"
    folder.mkdir()
    (folder / "main.tf").write_text('resource "google_service_account" "x" {\n  account_id = "x"\n  email = "x"\n}\n')
    with pytest.raises(AssertionError, match="Google Cloud alone assigns email"):
        blank_paper.plan("assigned")


@SCOPED
@MODED
def test_a_first_apply_can_be_planned(blank_paper: Paper, scope: str, mode: str) -> None:
    """Nothing hangs on what is only known once something is made: no `for_each`, no `count`, no condition."""
    assert blank_paper.plan(scope=SCOPES[scope], mode=mode, **FIVE).resources


def test_every_resource_waits_until_its_api_is_enabled(blank_paper: Paper) -> None:
    """A new project has these APIs off, and enabling them takes longer than anything else at the start of an apply."""
    arrows = blank_paper.arrows()
    enabled = {each["api"] for each in yaml.safe_load((DEPLOY / "installation.yaml").read_text())["apis"]}
    enabled.add("cloudkms.googleapis.com")  # keys.tf enables it where a key is given

    made = [each for each in arrows if each.startswith("google_") and not each.startswith("google_project_service.")]
    assert len(made) > 50
    for each in made:
        api = api_of(each.partition(".")[0])
        assert api in enabled, each
        assert "google_project_service.used" in behind(arrows, each), f"{each} does not wait for {api}"


@pytest.mark.parametrize("example", sorted(path.name for path in (DEPLOY / "examples").iterdir()))
def test_an_example_can_be_planned(blank_paper: Paper, example: str) -> None:
    plan = blank_paper.plan(f"deploy/examples/{example}")
    assert plan.of("google_cloud_run_v2_service")
    assert plan.outputs


def test_what_is_ours_and_how_long_the_built_in_rule_grants_is_said(paper: Paper) -> None:
    plan = paper.plan(
        scope=SCOPES["organization"],
        domains=["example.com", "example.org"],
        workforce_pools=["staff"],
        grant_days=30,
        operators=["op@example.com"],
        **FIVE,
    )
    given = environment(containers(plan)["receiver"])
    assert (given["REMEDIATE_DOMAINS"], given["REMEDIATE_WORKFORCE_POOLS"]) == ("example.com,example.org", "staff")
    assert given["REMEDIATE_GRANT_DAYS"] == "30"
    assert given["REMEDIATE_OPERATORS"] == "op@example.com"
    plan = paper.plan(
        scope=SCOPES["organization"], **FIVE, operators=["op@example.com", "bot@ops.iam.gserviceaccount.com"]
    )
    through = {values["member"] for values in plan.of("google_iap_web_cloud_run_service_iam_member").values()}
    operators = {"user:op@example.com", "serviceAccount:bot@ops.iam.gserviceaccount.com"}
    assert through == {"user:ana@example.com", "domain:example.com", *operators}
    for wrong in (
        {"operators": ["example.com"]},
        {"domains": ["@example.com"]},
        {"workforce_pools": ["Staff"]},
        {"grant_days": 0},
    ):
        with pytest.raises(AssertionError, match=rf"{next(iter(wrong))}: expected"):
            paper.plan(scope=SCOPES["organization"], **FIVE, **wrong)


def test_the_ledger_is_kept(plans: dict[tuple[str, str], Plan]) -> None:
    plan = plans["organization", "dry-run"]
    [database] = plan.of("google_firestore_database").values()
    assert database["delete_protection_state"] == "DELETE_PROTECTION_ENABLED"
    assert database["point_in_time_recovery_enablement"] == "POINT_IN_TIME_RECOVERY_ENABLED"
    wanted = yaml.safe_load((DEPLOY / "installation.yaml").read_text())
    assert len(plan.of("google_firestore_index")) == len(wanted["indexes"])
    assert len(plan.of("google_firestore_field")) == len(wanted["fields"])


@pytest.mark.parametrize(
    "scope",
    [
        ["organizations/1", "folders/2"],
        ["organizations/1", "organizations/2"],
        [],
        ["projects/another-one"],
        ["everything"],
    ],
)
def test_a_wrong_scope_is_told_with_what_is_accepted(paper: Paper, scope: list[str]) -> None:
    with pytest.raises(AssertionError, match=r"Invalid value for variable[\s\S]*scope: "):
        paper.plan(scope=scope, **FIVE)


def test_all_wrong_values_are_told_at_once_by_name_and_what_is_accepted(paper: Paper) -> None:
    wrong: dict[str, Any] = {"mode": "yolo", "region": "Belgium", "project": "Remediate Ops", "name": "x"}
    wrong |= {"reviewers": ["user:ana@example.com"], "delivery_attempts": 4, "trail_days": 1.5}
    wrong |= {"threads": 0, "min_instances": 9, "memory": "lots", "timeout_seconds": 9000}
    wrong |= {
        "sweep_since": "soon",
        "sweep_schedule": "hourly",
        "due_schedule": "5m",
        "grants_an_hour": -1,
        "grants_to_a_member": 1.5,
    }
    wrong |= {"proposals_an_hour": 0}
    wrong |= {"ledger_location": "", "alert_emails": ["nobody"], "labels": {"App": "X"}}
    wrong |= {"slack_webhook_secret": "https://hooks.slack.com/x", "chat_webhook_secret": "a b"}
    with pytest.raises(AssertionError) as told:
        paper.plan(scope=SCOPES["organization"], **wrong)
    for name in wrong:
        assert f"{name}: expected" in " ".join(str(told.value).split())


def test_nobody_reviews_is_no_answer_and_a_project_has_no_tags(paper: Paper) -> None:
    with pytest.raises(AssertionError) as told:
        paper.plan(scope=SCOPES["project"], **FIVE | {"reviewers": [], "registry_opt_in": "tag"})
    assert "reviewers: expected" in str(told.value)
    assert "registry_opt_in: expected none for a single project" in str(told.value)
    with pytest.raises(AssertionError, match="registry_opt_in: expected none or tag"):
        paper.plan(scope=SCOPES["organization"], **FIVE | {"registry_opt_in": "perhaps"})


def test_another_name_names_everything(paper: Paper) -> None:
    plan = paper.plan(scope=SCOPES["organization"], name="image-guard", **FIVE)
    assert permissions(plan).keys() >= {f"organizations/{ORGANIZATION}/roles/imageGuardWriter"}
    names = [
        each["values"].get("name") or ""
        for each in plan.resources.values()
        if not each["type"].startswith("google_firestore")
    ]
    assert not [each for each in names if re.match("remediate(?!-ops-image-guard)", each)]


def test_every_alert_names_a_section_that_is_there(plans: dict[tuple[str, str], Plan]) -> None:
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "operations.md").read_text(), re.M)
    anchors = {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}
    alerts = plans["organization", "dry-run"].of("google_monitoring_alert_policy")
    assert len(alerts) == 9
    for name, each in alerts.items():
        [told] = each["documentation"]
        [section] = re.findall(r"docs/operations\.md#([a-z0-9-]+)", told["content"])
        assert section in anchors, name


def test_every_variable_is_documented_and_used() -> None:
    declared = re.findall(r'^variable "(\w+)"', (DEPLOY / "variables.tf").read_text(), re.M)
    text = "".join(path.read_text() for path in DEPLOY.glob("*.tf") if path.name != "variables.tf")
    documented = re.findall(r"^\| `(\w+)` \|", (DEPLOY / "README.md").read_text(), re.M)
    assert [each for each in declared if not re.search(rf"\bvar\.{each}\b", text)] == []
    assert documented == declared


def test_the_filter_is_the_recognisers_own() -> None:
    assert (DEPLOY / "denials.filter").read_text() == DENIALS, "run: make filter"


def test_what_terraform_and_the_script_read_is_well_formed() -> None:
    table = yaml.safe_load((DEPLOY / "installation.yaml").read_text())
    own = {"reader", "writer", "ancestry"}
    assert {role for each in table["calls"] for role in each["roles"]} == {*own, "roles/logging.viewAccessor"}


def _declared() -> set[str]:
    """Every name that the module declares, as an expression writes it."""
    names: set[str] = {"path.module", "each.key", "each.value"}
    for path in sorted(DEPLOY.glob("*.tf")):
        for kind, blocks in hcl2.loads(path.read_text()).items():
            for block in blocks if isinstance(blocks, list) else []:
                for first, inner in block.items() if isinstance(block, dict) else []:
                    name = first.strip('"')
                    if kind in ("resource", "data", "ephemeral"):
                        prefix = "" if kind == "resource" else f"{kind}."
                        names |= {f"{prefix}{name}.{each.strip(chr(34))}" for each in inner}
                    else:
                        names.add({"variable": "var", "locals": "local"}.get(kind, kind) + f".{name}")
    return names


def test_every_reference_is_to_something_declared() -> None:
    """Without Terraform too: what an expression names is there."""
    declared = _declared()
    found = set()
    for path in DEPLOY.glob("*.tf"):
        text = re.sub(r"(?m)^\s*#.*$", "", path.read_text())
        for each in re.finditer(
            r"(?<![\w.\"/-])((?:data\.|ephemeral\.)?(?:google_\w+|terraform_data|random_password)|var|local)\.(\w+)",
            text,
        ):
            found.add(f"{each[1]}.{each[2]}")
    assert len(found) > 100
    assert found - declared == set()


def test_what_checkov_is_told_to_leave_has_its_reason() -> None:
    lines = (DEPLOY / "checks" / "checkov.yaml").read_text().partition("skip-check:")[2].strip("\n").splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith("- "):
            assert re.match(r"\s+# .{15,}", lines[number - 1]), line
