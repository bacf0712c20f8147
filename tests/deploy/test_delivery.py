"""The two ways of delivery: by Eventarc, and by a push subscription, where everything is Terraform's own."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from remediate.entries.log_filter import DENIALS
from tests.deploy.paper import (
    FIVE,
    MODES,
    NUMBER,
    PROJECT,
    SCOPES,
    Paper,
    Plan,
    containers,
    grants,
)
from tests.deploy.test_install import KINDS, MADE, flag, printed, written

SCOPED = pytest.mark.parametrize("scope", SCOPES)
TRIGGER = f"remediate-trigger@{PROJECT}.iam.gserviceaccount.com"
PUBSUB = f"serviceAccount:service-{NUMBER}@gcp-sa-pubsub.iam.gserviceaccount.com"
PUSH = "--delivery=push"


@pytest.fixture(scope="module")
def pushing(paper: Paper) -> dict[tuple[str, str], Plan]:
    return {
        (scope, mode): paper.plan(scope=SCOPES[scope], mode=mode, delivery="push", **FIVE)
        for scope in SCOPES
        for mode in MODES
    }


@SCOPED
def test_a_first_apply_can_be_planned(blank_paper: Paper, scope: str) -> None:
    assert blank_paper.plan(scope=SCOPES[scope], delivery="push", **FIVE).resources


@SCOPED
def test_a_push_needs_nothing_of_eventarc(pushing: dict[tuple[str, str], Plan], scope: str) -> None:
    plan = pushing[scope, "enforce"]
    text = json.dumps([{**each, "values": {**each["values"], "description": ""}} for each in plan.resources.values()])
    assert "eventarc" not in text
    assert not [name for name in plan.of("terraform_data") if "dead_letters" in name]  # no command sets what it owns


@SCOPED
def test_a_subscription_of_terraforms_own_calls_the_receiver(pushing: dict[tuple[str, str], Plan], scope: str) -> None:
    plan = pushing[scope, "dry-run"]
    made = plan.of("google_pubsub_subscription")["google_pubsub_subscription.denials[0]"]
    [push], [letters], [retries] = made["push_config"], made["dead_letter_policy"], made["retry_policy"]
    [token] = push["oidc_token"]
    receiver = containers(plan)["receiver"]
    assert push["push_endpoint"] == token["audience"] == receiver["uri"]
    assert token["service_account_email"] == TRIGGER
    assert letters == {
        "dead_letter_topic": f"projects/{PROJECT}/topics/remediate-dead-letters",
        "max_delivery_attempts": 20,
    }
    assert retries == {"minimum_backoff": "10s", "maximum_backoff": "600s"}
    assert (made["ack_deadline_seconds"], made["expiration_policy"]) == (120, [{"ttl": ""}])
    assert made["topic"] == f"projects/{PROJECT}/topics/remediate-denials"
    [moves] = plan.of("google_pubsub_subscription_iam_member").values()
    assert (moves["subscription"], moves["member"]) == (made["id"], PUBSUB)
    invoking = plan.of("google_cloud_run_v2_service_iam_binding")["google_cloud_run_v2_service_iam_binding.receiver"]
    assert invoking["members"] == [f"serviceAccount:{TRIGGER}"]
    assert receiver["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"


@SCOPED
def test_a_sink_alone_publishes_what_the_recogniser_looks_for(pushing: dict[tuple[str, str], Plan], scope: str) -> None:
    plan = pushing[scope, "dry-run"]
    sinks = [
        each
        for kind in ("organization", "folder", "project")
        for each in plan.of(f"google_logging_{kind}_sink").values()
        if each["name"] == "remediate-denials"
    ]
    assert len(sinks) == len(SCOPES[scope])
    assert {each["filter"] for each in sinks} == {DENIALS}
    publishers = plan.of("google_pubsub_topic_iam_binding")["google_pubsub_topic_iam_binding.publisher[0]"]["members"]
    assert sorted(publishers) == sorted(each["writer_identity"] for each in sinks)


@pytest.mark.parametrize("mode", MODES)
@SCOPED
def test_nobody_holds_more_than_with_eventarc(
    pushing: dict[tuple[str, str], Plan], plans: dict[tuple[str, str], Plan], scope: str, mode: str
) -> None:
    push, eventarc = grants(pushing[scope, mode]), grants(plans[scope, mode])
    if scope == "project":  # the sink is new, and Eventarc's events are gone
        publishes = {("roles/pubsub.publisher", "google_pubsub_topic")}
        assert push.pop(f"serviceAccount:service-project-{PROJECT}@gcp-sa-logging.iam.gserviceaccount.com") == publishes
        eventarc[f"serviceAccount:{TRIGGER}"].remove(("roles/eventarc.eventReceiver", "google_project"))
    assert push == eventarc


@pytest.mark.parametrize("mode", MODES)
@SCOPED
def test_install_sh_does_the_same(pushing: dict[tuple[str, str], Plan], scope: str, mode: str) -> None:
    plan, commands = pushing[scope, mode], printed(scope, mode, PUSH)
    given: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for words in commands:
        if "add-iam-policy-binding" in words and not " ".join(words).count(".serviceAgent"):
            kind = KINDS[" ".join(words).partition(" add-iam-policy-binding")[0]]
            member = flag(words, "member").replace(
                f"SINK_OF_projects/{PROJECT}",
                f"serviceAccount:service-project-{PROJECT}@gcp-sa-logging.iam.gserviceaccount.com",
            )
            given[member].add((flag(words, "role"), kind))
    assert given == grants(plan)
    lines = [" ".join(words) for words in commands]
    for kind, command in MADE.items():
        assert len(plan.of(kind)) == sum(each.startswith(command) for each in lines), kind
    assert "eventarc" not in written(scope, mode, PUSH).casefold()
    [words] = [
        each
        for each in commands
        if each[:3] == ["pubsub", "subscriptions", "create"] and each[3] == "remediate-denials"
    ]
    made = plan.of("google_pubsub_subscription")["google_pubsub_subscription.denials[0]"]
    assert flag(words, "push-endpoint") == made["push_config"][0]["push_endpoint"]
    assert flag(words, "push-auth-service-account") == TRIGGER
    assert flag(words, "dead-letter-topic") == made["dead_letter_policy"][0]["dead_letter_topic"]
    assert flag(words, "max-delivery-attempts") == str(made["dead_letter_policy"][0]["max_delivery_attempts"])
    assert f"{flag(words, 'min-retry-delay')} {flag(words, 'max-retry-delay')}" == "10s 600s"


@SCOPED
def test_what_a_push_installs_is_removed(scope: str) -> None:
    gone = {" ".join(words[:4]) for words in printed(scope, "dry-run", PUSH, "--remove") if "delete" in words}
    assert {"pubsub subscriptions delete remediate-denials", "pubsub topics delete remediate-denials"} <= gone
    assert "logging sinks delete remediate-denials" in gone
    assert not [each for each in gone if "eventarc" in each]


def test_another_word_is_told(paper: Paper) -> None:
    with pytest.raises(AssertionError, match="delivery: expected eventarc or push"):
        paper.plan(scope=SCOPES["organization"], delivery="pull", **FIVE)
