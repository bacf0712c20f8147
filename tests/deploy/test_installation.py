"""deploy/installation.yaml is read by four: the module, install.sh, the doctor and the sandbox. Each is compared with it."""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import Any

import pytest

from deploy import generate
from remediate.doctor import installation as doctors
from remediate.doctor import requirements
from remediate.doctor.names import ResourceNames
from remediate.doctor.resources import newest_first
from sandbox.deployment import resources
from sandbox.deployment_seed import DeploymentSeed
from sandbox.organization import load
from tests.deploy.paper import FIVE, PROJECT, REGION, SCOPES, Paper, Plan, ran
from tests.sandbox_fixture import ROOT

SAID: dict[str, Any] = generate.read()
NAME, CAMEL = "image-guard", "imageGuard"
SCOPED = pytest.mark.parametrize("scope", SCOPES)
Names = dict[str, set[str]]

TERRAFORMS = {
    "accounts": ("google_service_account", "account_id"),
    "roles": ("google_(organization|project)_iam_custom_role", "role_id"),
    "topics": ("google_pubsub_topic", "name"),
    "subscriptions": ("google_pubsub_subscription", "name"),
    "triggers": ("google_eventarc_trigger", "name"),
    "sinks": ("google_logging_(organization|folder|project)_sink", "name"),
    "log_buckets": ("google_logging_project_bucket_config", "bucket_id"),
    "log_views": ("google_logging_log_view", "name"),
    "services": ("google_cloud_run_v2_service", "name"),
    "jobs": ("google_cloud_run_v2_job", "name"),
    "schedules": ("google_cloud_scheduler_job", "name"),
    "databases": ("google_firestore_database", "name"),
    "secrets": ("google_secret_manager_secret", "secret_id"),
    "buckets": ("google_storage_bucket", "name"),
    "repositories": ("google_artifact_registry_repository", "repository_id"),
}
"""The resource type of each kind of name, and the argument that is the name."""

SCRIPTS = {
    "accounts": r"iam service-accounts create (\S+)",
    "roles": r"iam roles create (\S+)",
    "topics": r"pubsub topics create (\S+)",
    "subscriptions": r"pubsub subscriptions create (\S+)",
    "triggers": r"eventarc triggers create (\S+)",
    "sinks": r"logging sinks create (\S+)",
    "log_buckets": r"logging buckets create (\S+)",
    "log_views": r"logging views create (\S+)",
    "services": r"(?:beta )?run deploy (\S+)",
    "jobs": r"run jobs deploy (\S+)",
    "schedules": r"scheduler jobs create http (\S+)",
    "databases": r"firestore databases create --database=(\S+)",
    "secrets": r"secrets create (\S+)",
    "buckets": r"storage buckets create gs://(\S+)",
    "repositories": r"artifacts repositories create (\S+)",
}
"""The command of install.sh that makes each kind of thing."""


def wanted(scope: str) -> Names:
    """The names that the file gives, of what there is in this scope."""
    holds = {"organization": {"above"}, "folders": {"above", "folders"}, "project": {"project"}}[scope] | {"eventarc"}
    names = {
        kind: {_named(each["name"]) for each in parts.values() if each.get("only") in {None, *holds}}
        for kind, parts in SAID["resources"].items()
    }
    if scope == "project":
        names["triggers"] = {
            f"{NAME}-{each.removeprefix('google.cloud.run.').replace('.', '-').lower()}" for each in SAID["methods"]
        }
    return names


def _named(template: str) -> str:
    return template.replace("<name>", NAME).replace("<camel>", CAMEL).replace("<project>", PROJECT)


def always(*conditions: str) -> set[str]:
    """The APIs without a condition, and those under one of these."""
    return {each["api"] for each in SAID["apis"] if each.get("only", "") in ("", *conditions)}


@cache
def printed(scope: str) -> list[str]:
    """The commands of install.sh, without gcloud."""
    reviewers, place = ",".join(FIVE["reviewers"]), ",".join(SCOPES[scope])
    said = (f"--project={PROJECT}", f"--region={REGION}", f"--scope={place}", f"--reviewers={reviewers}")
    done = ran(*said, f"--name={NAME}", "--dry-run")
    assert done.returncode == 0, done.stderr
    return [each.removeprefix("gcloud ") for each in done.stdout.splitlines() if each.startswith("gcloud ")]


@pytest.fixture(scope="module")
def named(paper: Paper) -> dict[str, Plan]:
    """The plan of each scope under another name."""
    return {scope: paper.plan(scope=SCOPES[scope], name=NAME, **FIVE) for scope in SCOPES}


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    """What the sandbox serves for an installation."""
    organization = load(ROOT / "sandbox" / "example.yaml")
    seed = DeploymentSeed(PROJECT, REGION, "f", "organizations/400000000001", name=NAME)
    found = dict(resources(seed, organization))
    return found | {"roles": organization.roles}


def test_what_is_written_from_the_file_is_up_to_date() -> None:
    assert generate.MODULE.read_text() == generate.module(), "run: make installation"
    assert generate.SCRIPT.read_text() == generate.script(), "run: make installation"


def test_everything_in_the_file_says_why_and_names_a_condition_that_is_known() -> None:
    parts = [each for parts in SAID["resources"].values() for each in parts.values()]
    for each in [*SAID["apis"], *parts, *SAID["calls"], *SAID["ledger"], *SAID["fields"]]:
        assert len(each["why"]) > 5, each
        assert each.get("only") in (None, "above", "folders", "project", "troubleshooter", "eventarc", "push"), each
    assert {each.get("only") for each in SAID["apis"]} == {None, "troubleshooter", "eventarc"}
    assert SAID["resources"].keys() == TERRAFORMS.keys() == SCRIPTS.keys()


# APIs


def test_the_doctor_asks_for_the_files_apis() -> None:
    assert set(doctors.APIS) == always()
    assert {each["api"]: each["only"] for each in SAID["apis"] if "only" in each} == doctors.CONDITIONAL_APIS
    assert "storage.googleapis.com" in doctors.APIS


@SCOPED
def test_terraform_enables_the_files_apis(named: dict[str, Plan], scope: str) -> None:
    assert {each["service"] for each in named[scope].of("google_project_service").values()} == always("eventarc")


def test_terraform_enables_an_api_whose_condition_holds(paper: Paper) -> None:
    plan = paper.plan(scope=SCOPES["organization"], troubleshooter=True, **FIVE)
    enabled = {each["service"] for each in plan.of("google_project_service").values()}
    assert enabled == {each["api"] for each in SAID["apis"]}
    given = {each["role"] for each in plan.of("google_organization_iam_member").values()}
    assert given >= {*SAID["troubleshooter"]} == {*doctors.TROUBLESHOOTER_ROLES}


@SCOPED
def test_the_script_enables_the_files_apis(scope: str) -> None:
    [words] = [shlex.split(each) for each in printed(scope) if each.startswith("services enable ")]
    assert {each for each in words if each.endswith(".googleapis.com")} == always("eventarc")


def test_the_sandbox_has_the_files_apis_on(served: dict[str, Any]) -> None:
    on = {api for api, state in served[f"/v1/projects/{PROJECT}/services"].items() if state == "ENABLED"}
    assert on == {*always("eventarc"), "serviceusage.googleapis.com"}  # which is on in every project


# Names


@SCOPED
def test_terraform_gives_the_files_names(named: dict[str, Plan], scope: str) -> None:
    found = {
        kind: {
            each["values"][argument] for each in named[scope].resources.values() if re.fullmatch(pattern, each["type"])
        }
        for kind, (pattern, argument) in TERRAFORMS.items()
    }
    assert found == wanted(scope)


@SCOPED
def test_the_script_gives_the_files_names(scope: str) -> None:
    found = {
        kind: {match[1] for each in printed(scope) if (match := re.match(pattern, each))}
        for kind, pattern in SCRIPTS.items()
    }
    assert found == wanted(scope)


@SCOPED
def test_the_doctor_looks_for_the_files_names(scope: str) -> None:
    site, names = ResourceNames(PROJECT, REGION, NAME, tuple(SCOPES[scope])), wanted(scope)
    accounts = {site.account(task).partition("@")[0] for task in SAID["resources"]["accounts"]}
    assert accounts == names["accounts"]
    roles = {site.role(need.custom_role) for need in requirements.REQUIREMENTS if need.custom_role}
    assert roles == wanted("folders")["roles"]  # the doctor holds a role's id ready in every scope
    assert {each.rpartition("/")[2] for each in site.triggers} == names["triggers"]
    assert set(doctors.METHODS) == {*SAID["methods"]}
    own = {kind: {part: _named(each["name"]) for part, each in SAID["resources"][kind].items()} for kind in names}
    assert site.topic == f"{site.project_path}/topics/{own['topics']['denials']}"
    assert site.dead_letter_topic == f"{site.project_path}/topics/{own['topics']['dead_letters']}"
    assert site.dead_letter_subscription == f"{site.project_path}/subscriptions/{own['subscriptions']['dead_letters']}"
    assert site.sink("folders/1") == f"folders/1/sinks/{own['sinks']['denials']}"
    assert site.view_sink("folders/1") == f"folders/1/sinks/{own['sinks']['view']}"
    bucket, view = own["log_buckets"]["denials"], own["log_views"]["denials"]
    assert site.log_view == f"{site.location_path}/buckets/{bucket}/views/{view}"
    assert site.trail_sink == f"{site.project_path}/sinks/{own['sinks']['trail']}"
    for task, job in own["jobs"].items():
        assert (
            site.job(task)
            == f"{site.location_path}/jobs/{job}"
            == f"{site.location_path}/jobs/{own['schedules'][task]}"
        )
    for task, service in own["services"].items():
        assert site.service(task) == f"{site.location_path}/services/{service}"


def test_a_name_that_the_doctor_writes_in_a_text_is_one_of_the_files() -> None:
    known = {each["name"].removeprefix("<name>-") for parts in SAID["resources"].values() for each in parts.values()}
    known |= {"canary"}  # a service that the doctor's denial names and nobody has
    told: set[str] = set()
    for path in sorted((ROOT / "remediate" / "doctor").glob("*.py")):
        told |= {*re.findall(r"\{[\w.]*\bname\}-([a-z][a-z-]*)", path.read_text())}
    assert told >= {"receiver", "review", "denials", "dead-letters"}
    assert told <= known


def test_the_sandbox_serves_the_files_names(served: dict[str, Any]) -> None:
    patterns = {
        "accounts": r"/serviceAccounts/([^/@]+)@[^/:]+$",
        "topics": r"^/v1/.*/topics/([^/:]+)$",
        "subscriptions": r"^/v1/.*/subscriptions/(?!eventarc-)([^/:]+)$",
        "triggers": r"/triggers/([^/:]+)$",
        "sinks": r"/sinks/([^/:]+)$",
        "log_buckets": r"/buckets/([^/:]+)$",
        "log_views": r"/views/([^/:]+)$",
        "services": r"^/v2/.*/services/([^/:]+)$",
        "jobs": r"^/v2/.*/jobs/([^/:]+)$",
        "schedules": r"^/v1/.*/jobs/([^/:]+)$",
        "databases": r"/databases/([^/:]+)$",
    }
    names = wanted("organization")
    names["topics"] -= {f"{NAME}-notices"}  # nothing in the sandbox is told of transitions, and
    names["sinks"] -= {f"{NAME}-writes"}  # it keeps no trail: the doctor looks at neither
    for kind, pattern in patterns.items():
        assert {match[1] for path in served if (match := re.search(pattern, path))} == names[kind], kind
    ours = {each.rpartition("/")[2] for each in served["roles"]}
    assert ours >= names["roles"]
    database = f"projects/{PROJECT}/databases/{NAME}"
    assert f"/v1/{database}/collectionGroups/remediations/indexes" in served


# Permissions and indexes, which test_expected.py compares in the doctor and test_install.py between the installers


def test_the_sandboxes_roles_hold_what_the_file_says(served: dict[str, Any]) -> None:
    for role, held in generate.roles(SAID).items():
        own = [listed for name, listed in served["roles"].items() if name.endswith(f"/{CAMEL}{role.title()}")]
        assert [{*listed} for listed in own] == ([{*held}] if role != "ancestry" else [])


@SCOPED
def test_terraforms_roles_hold_what_the_file_says(named: dict[str, Plan], scope: str) -> None:
    kinds = ("google_organization_iam_custom_role", "google_project_iam_custom_role")
    found = {each["role_id"]: {*each["permissions"]} for kind in kinds for each in named[scope].of(kind).values()}
    for role, held in generate.roles(SAID).items():
        if role != "ancestry" or scope == "folders":
            assert found[f"{CAMEL}{role.title()}"] == {
                each for each, above in held.items() if scope != "project" or not above
            }


def test_everybody_has_the_files_indexes(named: dict[str, Plan], served: dict[str, Any]) -> None:
    said = {(each["in"], *generate.ordered(each)) for each in SAID["indexes"]}
    assert len(said) == len(SAID["indexes"])
    planned = {
        (each["collection"], *((field["field_path"], field["order"].lower()) for field in each["fields"]))
        for each in named["organization"].of("google_firestore_index").values()
    }
    assert planned == said
    scripts = {
        (re.findall(r"--collection-group=(\S+)", each)[0], *re.findall(r"field-path=([\w]+)\\?,order=(\w+)", each))
        for each in printed("organization")
        if each.startswith("firestore indexes composite create ")
    }
    assert scripts == said
    group = served[f"/v1/projects/{PROJECT}/databases/{NAME}/collectionGroups/remediations/indexes"]["indexes"]
    sandboxes = {
        ("remediations", *((field["fieldPath"], field["order"].lower()) for field in index["fields"][:-1]))
        for index in group
    }
    assert sandboxes == {each for each in said if each[0] == "remediations"}
    for _, *fields in sandboxes:
        paths = tuple(field for field, _ in fields)
        assert {field for field, order in fields if order == "descending"} == {*newest_first(paths)}
