"""The Terraform module, planned on paper for every scope and mode, and held to the threat model: who may do what, where."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from remediate.entries.log_filter import DENIALS
from remediate.settings import load_settings
from remediate.times import LOG_VIEW_LASTS
from tests.deploy import schema
from tests.deploy.paper import (
    FIVE,
    MODES,
    NUMBER,
    ORGANIZATION,
    PROJECT,
    REGION,
    SCOPES,
    Paper,
    Plan,
    behind,
    containers,
    environment,
    grants,
    permissions,
)
from tests.deploy.paper_cloud import api_of
from tests.sandbox_fixture import ROOT

DEPLOY = ROOT / "deploy"
SET_POLICY = "artifactregistry.repositories.setIamPolicy"
SCOPED = pytest.mark.parametrize("scope", SCOPES)
MODED = pytest.mark.parametrize("mode", MODES)


def who(name: str) -> str:
    return f"serviceAccount:remediate-{name}@{PROJECT}.iam.gserviceaccount.com"


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


@pytest.mark.parametrize("scope", ["organization", "folders"])
def test_a_registry_that_did_not_opt_in_is_out_of_reach(paper: Paper, scope: str) -> None:
    """By default, every grant of the writer above projects has the tag's condition, and the service looks for it."""
    plan = paper.plan(scope=SCOPES[scope], mode="enforce", **FIVE)
    given = plan.of("google_organization_iam_member") | plan.of("google_folder_iam_member")
    writing = [each for each in given.values() if each["role"].endswith("Writer")]
    assert writing
    for each in writing:
        [condition] = each["condition"]
        both = [f"resource.matchTagId('tagKeys/281', 'tagValues/{number}')" for number in (282, 283)]
        assert condition["expression"] == " || ".join(both)
    assert environment(containers(plan)["receiver"])["REMEDIATE_OPT_IN_TAG"] == "tagValues/282,tagValues/283"
    anywhere = paper.plan(scope=SCOPES[scope], mode="enforce", registry_opt_in="none", **FIVE)
    assert not anywhere.of("google_tags_tag_key")
    assert not any(each["condition"] for each in anywhere.of("google_organization_iam_member").values())


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


@SCOPED
def test_a_single_project_needs_no_right_above_it(plans: dict[tuple[str, str], Plan], scope: str) -> None:
    above = [
        each
        for each in plans[scope, "enforce"].resources
        if re.match(r"google_(organization|folder|tags|logging_(organization|folder))_", each)
    ]
    assert bool(above) is (scope != "project")


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


@pytest.mark.parametrize("scope", ["organization", "folders"])
def test_the_sinks_alone_publish_and_let_through_what_the_recogniser_looks_for(
    plans: dict[tuple[str, str], Plan], scope: str
) -> None:
    plan = plans[scope, "dry-run"]
    sinks = plan.of("google_logging_organization_sink") | plan.of("google_logging_folder_sink")
    denials = [each for each in sinks.values() if each["name"] == "remediate-denials"]
    assert len(denials) == len(SCOPES[scope])
    for each in denials:
        assert (each["filter"], each["include_children"], each["intercept_children"]) == (DENIALS, True, False)
        assert len(each["filter"]) < 20_000
    [publishers] = [
        each["members"] for name, each in plan.of("google_pubsub_topic_iam_binding").items() if "publisher" in name
    ]
    assert sorted(publishers) == sorted(each["writer_identity"] for each in denials)


@pytest.mark.parametrize("scope", ["organization", "folders"])
def test_the_same_denials_come_into_a_bucket_that_those_who_decide_alone_can_read(
    plans: dict[tuple[str, str], Plan], scope: str
) -> None:
    plan = plans[scope, "dry-run"]
    place = f"projects/{PROJECT}/locations/{REGION}"
    [bucket] = [
        each
        for each in plan.of("google_logging_project_bucket_config").values()
        if each["bucket_id"] == "remediate-denials"
    ]
    assert (bucket["location"], bucket["retention_days"]) == (REGION, LOG_VIEW_LASTS.days)
    sinks = plan.of("google_logging_organization_sink") | plan.of("google_logging_folder_sink")
    feeding = [each for each in sinks.values() if each["name"] == "remediate-view"]
    assert len(feeding) == len(SCOPES[scope])
    for each in feeding:
        assert (each["filter"], each["include_children"], each["intercept_children"]) == (DENIALS, True, False)
        assert each["destination"] == f"logging.googleapis.com/{place}/buckets/remediate-denials"
    writers = [
        each
        for name, each in plan.of("google_project_iam_member").items()
        if name.startswith("google_project_iam_member.view")
    ]
    assert sorted(each["member"] for each in writers) == sorted(each["writer_identity"] for each in feeding)
    for each in writers:
        [condition] = each["condition"]
        assert condition["expression"] == f'resource.name.endsWith("locations/{REGION}/buckets/remediate-denials")'
    [view] = plan.of("google_logging_log_view").values()
    assert not view["filter"]
    [reading] = plan.of("google_logging_log_view_iam_binding").values()
    assert (reading["role"], reading["condition"]) == ("roles/logging.viewAccessor", [])
    assert sorted(reading["members"]) == [who("receiver"), who("review"), who("sweep"), who("writer")]
    name = f"{place}/buckets/remediate-denials/views/remediate-denials"
    for values in containers(plan).values():
        assert environment(values)["REMEDIATE_LOG_VIEW"] == name
        assert load_settings({"REMEDIATE_LOG_VIEW": name}).log_view == name


@pytest.mark.parametrize(("scope", "kept"), [("organization", False), ("folders", False), ("project", True)])
def test_without_the_bucket_of_denials_nothing_of_it_is_made(paper: Paper, scope: str, kept: bool) -> None:
    plan = paper.plan(scope=SCOPES[scope], denials_bucket=kept, **FIVE)
    made = [name for name in plan.resources if re.search(r"log_view|\.view\b|bucket_config\.denials", name)]
    assert made == []
    assert "logging.viewAccessor" not in json.dumps(plan.resources)
    for values in containers(plan).values():
        assert "REMEDIATE_LOG_VIEW" not in environment(values)


@SCOPED
def test_no_message_is_lost_behind_a_trigger(plans: dict[tuple[str, str], Plan], scope: str) -> None:
    """Each trigger's subscription has its dead letters, whose topic somebody keeps and an alert watches."""
    plan = plans[scope, "dry-run"]
    made = [each["transport"][0]["pubsub"][0]["subscription"] for each in plan.of("google_eventarc_trigger").values()]
    assert len(made) == (8 if scope == "project" else 1)
    replaced = [each["triggers_replace"] for name, each in plan.of("terraform_data").items() if "dead_letters" in name]
    topic = f"projects/{PROJECT}/topics/remediate-dead-letters"
    assert sorted(replaced) == sorted([each, topic, 20, 120] for each in made)
    subscriber = plan.of("google_pubsub_subscription_iam_member").values()
    assert sorted(each["subscription"] for each in subscriber) == sorted(made)
    kept = plan.of("google_pubsub_subscription")["google_pubsub_subscription.dead_letters"]
    assert (kept["topic"], kept["name"]) == (topic, "remediate-dead-letters")
    assert kept["expiration_policy"] == [{"ttl": ""}]
    conditions = plan.of("google_monitoring_alert_policy")['google_monitoring_alert_policy.on["dead-letters"]'][
        "conditions"
    ]
    assert "remediate-dead-letters" in conditions[0]["condition_prometheus_query_language"][0]["query"]


BUILT = "data.google_artifact_registry_docker_image.built"


@SCOPED
def test_one_image_runs_in_all_four_by_its_digest(plans: dict[tuple[str, str], Plan], scope: str) -> None:
    """Not by its tag: a tag can be given to another image, and a new image under the same tag makes no new revision."""
    plan = plans[scope, "dry-run"]
    running = containers(plan)
    assert running.keys() == {"receiver", "review", "sweep", "due", "writer"}
    for name, values in running.items():
        assert "docker.pkg.dev" not in json.dumps(values)
        resource = name.replace("due", "sweep")  # one block for both jobs
        [found] = [
            json.dumps(each)
            for address, each in plan.expressions.items()
            if re.fullmatch(rf"google_cloud_run_v2_(?:service|job)\.{resource}", address)
        ]
        assert f'"image": {{"references": ["{BUILT}.self_link", "{BUILT}"]}}' in found
    asked = plan.resources[BUILT]["values"]
    image = _image(plan)
    assert image.startswith(f"{REGION}-docker.pkg.dev/{PROJECT}/remediate/remediate:")
    assert image.endswith(f"/{asked['repository_id']}/{asked['image_name']}")
    assert not any("build_config" in values and values["build_config"] for values in running.values())


def test_what_runs_waits_for_the_build_and_its_digest(blank_paper: Paper) -> None:
    arrows = blank_paper.arrows()
    for each in ("service.receiver", "service.review", "service.writer", "job.sweep"):
        assert BUILT in arrows[f"google_cloud_run_v2_{each}"]
    assert "terraform_data.image" in arrows[BUILT]


@SCOPED
@MODED
def test_what_runs_starts_with_the_settings_that_it_is_given(
    plans: dict[tuple[str, str], Plan], scope: str, mode: str
) -> None:
    documented = re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "settings.md").read_text(), re.M)
    for name, values in containers(plans[scope, mode]).items():
        given = {key: "s" * 48 if value is None else value for key, value in environment(values).items()}
        ours = {
            key: value
            for key, value in given.items()
            if key.startswith("REMEDIATE_") and (key in documented or key not in COMING)
        }
        assert set(ours) <= set(documented)
        settings = load_settings({**ours, "K_SERVICE": "1"})
        assert settings.mode == mode
        assert settings.ledger == f"firestore://{PROJECT}/remediate"
        assert settings.organization == (None if scope == "project" else ORGANIZATION)
        assert settings.reviewers == ("user:ana@example.com", "example.com")
        assert set(settings.identities) == {
            who(each).lower() for each in ("receiver", "review", "sweep", "writer", "trigger", "builder")
        }
        assert (settings.iap_audience is not None) is (name == "review")
        assert (settings.writer_topic is not None) is (name == "review")
        if name not in ("sweep", "due"):  # a request more than threads would wait inside, unseen by the autoscaler
            template = values["template"][0]
            assert str(template["max_instance_request_concurrency"]) == given["THREADS"]


# Settings of notices, which may not be documented yet.
COMING = ("REMEDIATE_NOTIFY_TOPIC", "REMEDIATE_REVIEW_URL", "REMEDIATE_SLACK_WEBHOOK", "REMEDIATE_CHAT_WEBHOOK")


@pytest.mark.parametrize(("given", "always"), [({}, False), ({"cpu_always": True}, True)])
def test_the_services_keep_their_cpu_between_requests_where_that_is_set(
    paper: Paper, given: dict[str, Any], always: bool
) -> None:
    plan = paper.plan(scope=SCOPES["organization"], **FIVE, **given)
    idle = [
        values["template"][0]["containers"][0]["resources"][0]["cpu_idle"]
        for values in plan.of("google_cloud_run_v2_service").values()
    ]
    assert idle == [not always] * len(idle)


def test_each_sweep_has_its_schedule_and_its_arguments(paper: Paper) -> None:
    plan = paper.plan(scope=SCOPES["folders"], **FIVE, due_schedule="*/10 * * * *", sweep_since="2d")
    scopes = [f"--scope={each}" for each in SCOPES["folders"]]
    arguments = {"sweep": ["sweep", "--since", "2d", *scopes], "due": ["sweep", "--due"]}
    times = {"sweep": "7 * * * *", "due": "*/10 * * * *"}
    running = containers(plan)
    schedules = {
        each["name"].removeprefix("remediate-"): each for each in plan.of("google_cloud_scheduler_job").values()
    }
    assert schedules.keys() == arguments.keys()
    for task, words in arguments.items():
        [container] = running[task]["template"][0]["template"][0]["containers"]
        assert container["args"] == ["--", "python3", "-m", "remediate", *words]
        assert schedules[task]["schedule"] == times[task]
        assert schedules[task]["http_target"][0]["uri"].endswith(f"/jobs/remediate-{task}:run")
    assert environment(running["due"]) == environment(running["sweep"])


def test_receivers_share_the_minutes_look_ups(paper: Paper) -> None:
    for instances, each in ((1, "50"), (4, "12"), (1000, "1")):
        plan = paper.plan(scope=SCOPES["organization"], max_instances=instances, **FIVE)
        assert environment(containers(plan)["receiver"])["REMEDIATE_LOOKUPS_A_MINUTE"] == each


def test_a_group_reviews_by_its_domain(paper: Paper) -> None:
    plan = paper.plan(scope=SCOPES["organization"], **FIVE | {"reviewers": ["group:platform@example.com"]})
    assert environment(containers(plan)["review"])["REMEDIATE_REVIEWERS"] == "example.com"
    assert "group:platform@example.com" in grants(plan)


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


@pytest.mark.parametrize(
    "changed", ["main.py", "remediate/decisions/policy.py", "remediate/review/templates/base.html", "requirements.txt"]
)
def test_a_changed_source_is_another_image_and_nothing_else_is(paper: Paper, changed: str) -> None:
    """What names the image is what gcloudignore uploads: a change of it is built, whatever else lies beside it is not."""
    scope = SCOPES["organization"]
    before = _image(paper.plan(scope=scope, **FIVE))
    (paper.folder / "remediate" / "__pycache__" / "y.pyc").write_text("stale")
    (paper.folder / "requirements-dev.txt").write_text("changed")
    assert _image(paper.plan(scope=scope, **FIVE)) == before
    path = paper.folder / changed
    kept = path.read_text()
    path.write_text(kept + "\n")
    try:
        assert _image(paper.plan(scope=scope, **FIVE)) != before
    finally:
        path.write_text(kept)


def test_a_new_build_revision_is_another_image_of_the_same_source(paper: Paper) -> None:
    scope = SCOPES["project"]
    before, after = (_image(paper.plan(scope=scope, build_revision=each, **FIVE)) for each in ("", "2026-12-01"))
    assert after == f"{before}-2026-12-01"


def test_old_images_are_deleted_and_the_newest_stay(plans: dict[tuple[str, str], Plan]) -> None:
    [images] = plans["project", "dry-run"].of("google_artifact_registry_repository").values()
    newest, old = sorted(images["cleanup_policies"], key=lambda each: str(each["id"]))
    assert (newest["action"], newest["most_recent_versions"][0]["keep_count"]) == ("KEEP", 10)
    assert (old["action"], old["condition"][0]["tag_state"], old["condition"][0]["older_than"]) == (
        "DELETE",
        "ANY",
        "7776000s",
    )


def _image(plan: Plan) -> str:
    [image] = plan.of("terraform_data")["terraform_data.image"]["triggers_replace"]
    return str(image)


def test_what_is_uploaded_is_what_the_service_needs(tmp_path: Path) -> None:
    """gcloudignore has git's own syntax: git says what it leaves."""
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = tracked.stdout.split()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text((DEPLOY / "gcloudignore").read_text())
    for name in [*names, "remediate/__pycache__/x.pyc"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    left = subprocess.run(
        ["git", "ls-files", "-o", "--exclude-standard"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    wanted = {name for name in names if name.startswith("remediate/")}
    assert set(left.stdout.split()) == {"main.py", "requirements.txt", *wanted}


def test_the_ledger_is_kept(plans: dict[tuple[str, str], Plan]) -> None:
    plan = plans["organization", "dry-run"]
    [database] = plan.of("google_firestore_database").values()
    assert database["delete_protection_state"] == "DELETE_PROTECTION_ENABLED"
    assert database["point_in_time_recovery_enablement"] == "POINT_IN_TIME_RECOVERY_ENABLED"
    wanted = yaml.safe_load((DEPLOY / "installation.yaml").read_text())
    assert len(plan.of("google_firestore_index")) == len(wanted["indexes"])
    assert len(plan.of("google_firestore_field")) == len(wanted["fields"])


@SCOPED
def test_every_policy_write_of_ours_comes_into_the_trail(plans: dict[tuple[str, str], Plan], scope: str) -> None:
    plan = plans[scope, "dry-run"]
    sinks = {
        name: each
        for kind in ("organization", "folder", "project")
        for name, each in plan.of(f"google_logging_{kind}_sink").items()
        if each["name"] == "remediate-writes"
    }
    assert len(sinks) == len(SCOPES[scope])
    for each in sinks.values():
        assert each["destination"].endswith("/buckets/remediate-trail")
        for name in ("receiver", "sweep", "writer"):
            assert who(name).partition(":")[2] in each["filter"]


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
