"""How entries and our own lines travel, by the plan: sinks, topics, the log view, dead letters, the trail."""

from __future__ import annotations

import json
import re

import pytest

from remediate.entries.log_filter import DENIALS
from remediate.settings import load_settings
from remediate.times import LOG_VIEW_LASTS
from tests.deploy.paper import (
    FIVE,
    MODES,
    PROJECT,
    REGION,
    SCOPES,
    Paper,
    Plan,
    containers,
    environment,
    who,
)
from tests.sandbox_fixture import ROOT

DEPLOY = ROOT / "deploy"
SET_POLICY = "artifactregistry.repositories.setIamPolicy"
SCOPED = pytest.mark.parametrize("scope", SCOPES)
MODED = pytest.mark.parametrize("mode", MODES)


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
