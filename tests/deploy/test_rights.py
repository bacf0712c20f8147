"""Who may do what, by the plan of every scope and mode: each identity's grants, whole."""

from __future__ import annotations

import json
import re

import pytest

from tests.deploy.paper import (
    FIVE,
    MODES,
    NUMBER,
    ORGANIZATION,
    PROJECT,
    SCOPES,
    Paper,
    Plan,
    containers,
    environment,
    grants,
    permissions,
    who,
)
from tests.sandbox_fixture import ROOT

DEPLOY = ROOT / "deploy"
SET_POLICY = "artifactregistry.repositories.setIamPolicy"
SCOPED = pytest.mark.parametrize("scope", SCOPES)
MODED = pytest.mark.parametrize("mode", MODES)


@SCOPED
@MODED
def test_everybody_holds_what_they_need_and_nothing_else(
    plans: dict[tuple[str, str], Plan], scope: str, mode: str
) -> None:
    """Each identity's grants, whole: a role more anywhere fails here."""
    plan = plans[scope, mode]
    home = f"projects/{PROJECT}" if scope == "project" else f"organizations/{ORGANIZATION}"
    place = {"organization": "google_organization", "folders": "google_folder", "project": "google_project"}[scope]
    ledger = (f"projects/{PROJECT}/roles/remediateLedger", "google_project")
    evidence = {(f"{home}/roles/remediateReader", place)}
    if scope == "folders":
        evidence.add((f"{home}/roles/remediateAncestry", "google_organization"))
        evidence.add((f"{home}/roles/remediateReader", "google_project"))
    decides = {ledger, ("roles/pubsub.publisher", "google_pubsub_topic"), *evidence}
    if scope != "project":
        decides.add(("roles/logging.viewAccessor", "google_logging_log_view"))
    writes = {(f"{home}/roles/remediateWriter", place)}
    reviews = ("roles/secretmanager.secretAccessor", "google_secret_manager_secret")
    starts = {
        ("roles/run.invoker", "google_cloud_run_v2_service"),
        ("roles/run.invoker", "google_cloud_run_v2_job"),
    }
    if scope == "project":
        starts.add(("roles/eventarc.eventReceiver", "google_project"))
    expected = {
        who("receiver"): decides | (writes if mode == "enforce" else set()),
        who("review"): decides | {reviews},  # two topics: notices, and what wakes the writer
        who("writer"): decides | writes,
        who("sweep"): decides | writes,
        who("trigger"): starts,
        who("builder"): {
            ("roles/storage.objectViewer", "google_storage_bucket"),
            ("roles/artifactregistry.writer", "google_artifact_registry_repository"),
            ("roles/logging.logWriter", "google_project"),
        },
        f"serviceAccount:service-{NUMBER}@gcp-sa-iap.iam.gserviceaccount.com": {
            ("roles/run.invoker", "google_cloud_run_v2_service")
        },
        f"serviceAccount:service-{NUMBER}@gcp-sa-pubsub.iam.gserviceaccount.com": {
            ("roles/pubsub.publisher", "google_pubsub_topic"),
            ("roles/pubsub.subscriber", "google_pubsub_subscription"),
        },
        "user:ana@example.com": {("roles/iap.httpsResourceAccessor", "google_iap_web_cloud_run_service")},
        "domain:example.com": {("roles/iap.httpsResourceAccessor", "google_iap_web_cloud_run_service")},
    }
    sinks = plan.of("google_logging_organization_sink") | plan.of("google_logging_folder_sink")
    for values in sinks.values():
        expected[values["writer_identity"]] = {
            ("roles/pubsub.publisher", "google_pubsub_topic"),
            ("roles/logging.bucketWriter", "google_project"),
        }
    assert grants(plan) == expected


@SCOPED
def test_in_dry_run_the_receiver_may_set_no_policy_anywhere(plans: dict[tuple[str, str], Plan], scope: str) -> None:
    plan = plans[scope, "dry-run"]
    held = [permissions(plan).get(role, {role}) for role, _ in grants(plan)[who("receiver")]]
    assert not [each for each in set().union(*held) if "setIamPolicy" in each]
    assert environment(containers(plan)["receiver"])["REMEDIATE_MODE"] == "dry-run"


@SCOPED
@MODED
def test_no_role_is_basic_and_nobody_is_everybody(plans: dict[tuple[str, str], Plan], scope: str, mode: str) -> None:
    text = json.dumps(plans[scope, mode].resources)
    assert not re.search(r"roles/(owner|editor|viewer)\b|allUsers|allAuthenticatedUsers|projectOwner", text)


@SCOPED
def test_policies_are_set_by_one_role_and_on_repositories_alone(plans: dict[tuple[str, str], Plan], scope: str) -> None:
    held = permissions(plans[scope, "enforce"])
    setting = {role: [each for each in held[role] if "setIamPolicy" in each] for role in held}
    assert [each for each in setting.values() if each] == [[SET_POLICY]]
    assert not [
        each
        for each in set().union(*held.values())
        if re.search(r"\.(delete|create)$", each) and each != "datastore.entities.create"
    ]
    assert "datastore.entities.delete" not in set().union(*held.values())


@SCOPED
@MODED
def test_no_identity_that_is_reached_from_outside_may_set_a_policy(
    plans: dict[tuple[str, str], Plan], scope: str, mode: str
) -> None:
    plan = plans[scope, mode]
    running = containers(plan)
    outside = {name for name, each in running.items() if each.get("ingress") == "INGRESS_TRAFFIC_ALL"}
    assert outside == {"review"}
    held = permissions(plan)
    setting = {who for who, roles in grants(plan).items() for role, _ in roles if SET_POLICY in held.get(role, ())}
    assert setting == {who(name) for name in ("sweep", "writer", *(["receiver"] if mode == "enforce" else []))}


@SCOPED
def test_a_single_project_needs_no_right_above_it(plans: dict[tuple[str, str], Plan], scope: str) -> None:
    above = [
        each
        for each in plans[scope, "enforce"].resources
        if re.match(r"google_(organization|folder|tags|logging_(organization|folder))_", each)
    ]
    assert bool(above) is (scope != "project")


@SCOPED
def test_the_receiver_is_started_by_its_trigger_alone(plans: dict[tuple[str, str], Plan], scope: str) -> None:
    plan = plans[scope, "enforce"]
    running = containers(plan)
    assert running["receiver"]["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    assert not running["receiver"]["iap_enabled"]
    assert running["review"]["iap_enabled"] is True
    invoking = plan.of("google_cloud_run_v2_service_iam_binding")
    assert invoking["google_cloud_run_v2_service_iam_binding.receiver"]["members"] == [who("trigger")]
    [proxy] = invoking["google_cloud_run_v2_service_iam_binding.review"]["members"]
    assert proxy == f"serviceAccount:service-{NUMBER}@gcp-sa-iap.iam.gserviceaccount.com"


@SCOPED
def test_a_message_wakes_the_writer_and_nobody_else_calls_it(plans: dict[tuple[str, str], Plan], scope: str) -> None:
    plan = plans[scope, "dry-run"]
    assert containers(plan)["writer"]["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    [invoking] = plan.of("google_cloud_run_v2_service_iam_binding")["google_cloud_run_v2_service_iam_binding.writer"][
        "members"
    ]
    waking = plan.of("google_pubsub_subscription")["google_pubsub_subscription.approvals"]
    [push] = waking["push_config"]
    [token] = push["oidc_token"]
    assert invoking == f"serviceAccount:{token['service_account_email']}" == who("trigger")
    assert push["push_endpoint"] == token["audience"] == containers(plan)["writer"]["uri"]
    topic = environment(containers(plan)["review"])["REMEDIATE_WRITER_TOPIC"]
    assert (waking["topic"], waking["expiration_policy"]) == (topic, [{"ttl": ""}])
    publishing = plan.of("google_pubsub_topic_iam_member")["google_pubsub_topic_iam_member.approvals"]
    assert (publishing["member"], publishing["topic"]) == (who("review"), "remediate-approvals")


def test_a_policy_file_is_read_and_the_source_is_not(paper: Paper) -> None:
    plan = paper.plan(scope=SCOPES["organization"], policy_file="policies/by-a-person.yaml", **FIVE)
    reading = {name: each for name, each in plan.of("google_storage_bucket_iam_member").items() if "policy" in name}
    assert {each["member"] for each in reading.values()} == {
        who("receiver"),
        who("review"),
        who("sweep"),
        who("writer"),
    }
    for each in reading.values():
        assert each["condition"][0]["expression"].endswith('/objects/policy/")')
    bucket = f"{PROJECT}-remediate"
    assert environment(containers(plan)["sweep"])["REMEDIATE_POLICY"] == f"gs://{bucket}/policy/policy.yaml"


def test_no_secret_is_in_a_plan(plans: dict[tuple[str, str], Plan], paper: Paper) -> None:
    text = json.dumps(plans["organization", "dry-run"].resources)
    assert "x" * 48 not in text
    told = paper.plan(scope=SCOPES["organization"], slack_webhook_secret="slack", chat_webhook_secret="chat", **FIVE)
    for values in containers(told).values():
        assert {"REMEDIATE_SLACK_WEBHOOK", "REMEDIATE_CHAT_WEBHOOK"} <= {
            name for name, value in environment(values).items() if value is None
        }
    readers = {
        each["member"]
        for each in told.of("google_secret_manager_secret_iam_member").values()
        if each["secret_id"] == "slack"
    }
    assert readers == {who("receiver"), who("review"), who("sweep"), who("writer")}
