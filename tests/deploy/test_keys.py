"""A key of one's own, planned on paper: everything that keeps data carries it, after its service's agent may use it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.deploy.paper import FIVE, NUMBER, PROJECT, REGION, SCOPES, Paper, behind, grants
from tests.sandbox_fixture import ROOT

KEY = f"projects/keys/locations/{REGION}/keyRings/ring/cryptoKeys/remediate"
ROLE = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
Values = dict[str, Any]


def _block(values: Values, *path: str) -> Any:
    """The value at this path, through blocks that are there once; None if one is missing."""
    found: Any = values
    for step in path:
        found = found[0] if isinstance(found, list) and found else found
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _at(*path: str) -> Callable[[Values], Any]:
    return lambda values: _block(values, *path)


KEPT: dict[str, tuple[str, Callable[[Values], Any]]] = {
    "google_artifact_registry_repository": ("artifactregistry", _at("kms_key_name")),
    "google_cloud_run_v2_job": ("run", _at("template", "template", "encryption_key")),
    "google_cloud_run_v2_service": ("run", _at("template", "encryption_key")),
    "google_firestore_database": ("firestore", _at("cmek_config", "kms_key_name")),
    "google_logging_project_bucket_config": ("logging", _at("cmek_settings", "kms_key_name")),
    "google_pubsub_topic": ("pubsub", _at("kms_key_name")),
    "google_secret_manager_secret": (
        "secretmanager",
        _at("replication", "user_managed", "replicas", "customer_managed_encryption", "kms_key_name"),
    ),
    "google_storage_bucket": ("storage", _at("encryption", "default_kms_key_name")),
}
"""Each type that keeps data: whose agent uses the key, and where the key is named."""
AGENTS = {
    "artifactregistry": f"service-{NUMBER}@gcp-sa-artifactregistry.iam.gserviceaccount.com",
    "firestore": f"service-{NUMBER}@gcp-sa-firestore.iam.gserviceaccount.com",
    "logging": f"cmek-p{NUMBER}@gcp-sa-logging.iam.gserviceaccount.com",
    "pubsub": f"service-{NUMBER}@gcp-sa-pubsub.iam.gserviceaccount.com",
    "run": f"service-{NUMBER}@serverless-robot-prod.iam.gserviceaccount.com",
    "secretmanager": f"service-{NUMBER}@gcp-sa-secretmanager.iam.gserviceaccount.com",
    "storage": f"service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com",
}


@pytest.mark.parametrize("scope", SCOPES)
def test_everything_that_keeps_data_carries_the_key(paper: Paper, scope: str) -> None:
    plan = paper.plan(scope=SCOPES[scope], kms_key=KEY, **FIVE)
    kept = {address: found(values) for kind, (_, found) in KEPT.items() for address, values in plan.of(kind).items()}
    assert len(kept) == (13 if scope == "project" else 15)
    assert set(kept.values()) == {KEY}, kept
    [secret] = plan.of("google_secret_manager_secret").values()
    assert _block(secret, "replication", "user_managed", "replicas", "location") == REGION  # as the key


@pytest.mark.parametrize("scope", SCOPES)
def test_each_service_s_agent_may_use_that_one_key(paper: Paper, scope: str) -> None:
    plan = paper.plan(scope=SCOPES[scope], kms_key=KEY, **FIVE)
    given = plan.of("google_kms_crypto_key_iam_member")
    assert {(each["crypto_key_id"], each["role"]) for each in given.values()} == {(KEY, ROLE)}
    found = {re.sub(r".*\[\"(\w+)\"\]", r"\1", address): each["member"] for address, each in given.items()}
    assert found == {service: f"serviceAccount:{agent}" for service, agent in AGENTS.items()}
    assert {service for service, _ in KEPT.values()} == AGENTS.keys()
    assert "cloudkms.googleapis.com" in {each["service"] for each in plan.of("google_project_service").values()}
    plain = grants(paper.plan(scope=SCOPES[scope], **FIVE))
    assert {role for member, held in grants(plan).items() for role in held - plain.get(member, set())} == {
        (ROLE, "google_kms_crypto_key")
    }


@pytest.mark.parametrize("scope", SCOPES)
def test_without_a_key_there_is_none(paper: Paper, scope: str) -> None:
    plan = paper.plan(scope=SCOPES[scope], **FIVE)
    for kind, (_, found) in KEPT.items():
        assert {found(values) for values in plan.of(kind).values()} == {None}, kind
    assert not plan.of("google_kms_crypto_key_iam_member")
    assert "cloudkms.googleapis.com" not in {each["service"] for each in plan.of("google_project_service").values()}
    assert not [each for each in [*plan.resources, *plan.read] if "key" in each.partition(".")[2].partition("[")[0]]
    assert not [each for each in plan.read if "cmek" in each]


def test_a_first_apply_with_a_key_can_be_planned(blank_paper: Paper) -> None:
    plan = blank_paper.plan(scope=SCOPES["organization"], kms_key=KEY, **FIVE)
    assert len(plan.of("google_kms_crypto_key_iam_member")) == len(AGENTS)


def test_nothing_is_made_before_its_agent_may_use_the_key(blank_paper: Paper) -> None:
    """A grant comes after its agent, and what is made with the key after the grant and a moment."""
    arrows = blank_paper.arrows()
    kept = [each for each in arrows if each.partition(".")[0] in KEPT]
    assert len(kept) == 14
    for each in kept:
        assert {"terraform_data.key", "google_kms_crypto_key_iam_member.agents"} <= behind(arrows, each), each
    assert "google_kms_crypto_key_iam_member.agents" in arrows["terraform_data.key"]
    before = behind(arrows, "google_kms_crypto_key_iam_member.agents")
    assert before >= {
        "terraform_data.agents",
        "terraform_data.key_agents",
        "google_project_service.keys",
        "data.google_logging_project_cmek_settings.here",
    }


def test_every_agent_is_asked_for(paper: Paper) -> None:
    """By the command of main.tf, one of keys.tf, or Cloud Logging's own settings."""
    plan = paper.plan(scope=SCOPES["organization"], kms_key=KEY, **FIVE)
    commands = {name: each for name, each in plan.of("terraform_data").items() if "agents[" in name}
    asked = {re.sub(r".*\[\"(\w+)(\.googleapis\.com)?\"\]", r"\1", name) for name in commands}
    assert asked | {"logging"} == {*AGENTS, "eventarc", "iap"}
    text = (ROOT / "deploy" / "keys.tf").read_text()
    assert "gcloud storage service-agent --quiet --project=${var.project}" in text
    assert "services identity create --quiet --project=${var.project} --service=${each.value}.googleapis.com" in text


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("remediate", {}),
        ("", {}),
        (f"{KEY}/cryptoKeyVersions/1", {}),
        (KEY.replace("/keyRings/ring", ""), {}),
        (KEY.replace("ring/", "a ring/"), {}),
        (KEY.replace(REGION, "europe-west4"), {}),
        (KEY.replace(REGION, "global"), {}),
        (KEY, {"ledger_location": "eur3"}),
    ],
)
def test_a_wrong_key_is_told_by_name_and_what_is_accepted(paper: Paper, key: str, more: Values) -> None:
    with pytest.raises(AssertionError, match="kms_key: expected"):
        paper.plan(scope=SCOPES["organization"], kms_key=key, **FIVE, **more)


def test_a_key_may_be_of_any_project_and_the_ledger_may_name_the_region(paper: Paper) -> None:
    for project in (PROJECT, "example.com:keys"):
        key = KEY.replace("projects/keys", f"projects/{project}")
        assert paper.plan(scope=SCOPES["organization"], kms_key=key, ledger_location=REGION, **FIVE).resources
