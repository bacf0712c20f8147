"""What a resource of the stand-in cloud needs before it can be made: the things that it names, and rights that count."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.deploy.paper import NUMBER, PROJECT
from tests.deploy.paper_policies import Policies, Refused, place_of

Json = dict[str, Any]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


def check_needs(kind: str, values: Json, state: Json, policies: Policies) -> None:
    """Whether all that these values name is there, and the rights count that this needs."""
    for text in _strings(values):
        _check_name(text, state)
    match kind:
        case "google_eventarc_trigger":
            _check_trigger(values, policies)
        case "google_cloud_run_v2_service" | "google_cloud_run_v2_job":
            _check_secrets(values, policies)


def _check_name(text: str, state: Json) -> None:
    things = state["things"]
    ours = rf"projects/{PROJECT}"
    missing = False
    if re.fullmatch(rf"[a-z0-9-]+@{PROJECT}\.iam\.gserviceaccount\.com", text):
        missing = f"iam service-accounts {ours} {text}" not in things
    elif found := re.fullmatch(rf"(?:pubsub\.googleapis\.com/)?{ours}/(topics|subscriptions)/([^/]+)", text):
        missing = f"pubsub {found[1]} {ours} {found[2]}" not in things
    elif found := re.fullmatch(rf"(?:logging\.googleapis\.com/)?{ours}/locations/[^/]+/buckets/([^/]+)", text):
        thing = things.get(f"logging buckets {ours} {found[1]}")
        missing = thing is None or bool(thing.get("deleted"))
    elif "@sha256:" in text:
        missing = text not in [each["digest"] for each in state["images"].values()]
    if missing:
        raise Refused(f"googleapi: Error 400: {text} does not exist, badRequest")


def _check_trigger(values: Json, policies: Policies) -> None:
    agent = f"serviceAccount:service-{NUMBER}@gcp-sa-eventarc.iam.gserviceaccount.com"
    if not policies.counts(f"projects {PROJECT}", "roles/eventarc.serviceAgent", agent):
        raise Refused(
            'Error 400: Invalid resource state for "": Permission denied while using the Eventarc Service Agent. If you '
            "recently started to use Eventarc, it may take a few minutes before all necessary permissions are propagated"
        )
    member = f"serviceAccount:{values['service_account']}"
    audits = any(each["attribute"] == "methodName" for each in values["matching_criteria"])
    if audits and not policies.counts(f"projects {PROJECT}", "roles/eventarc.eventReceiver", member):
        raise Refused('Error 400: Permission "eventarc.events.receiveEvent" denied on the trigger\'s service account')


def _check_secrets(values: Json, policies: Policies) -> None:
    text = json.dumps(values)
    account = re.findall(r'"service_account": "([^"]+)"', text)[0]
    for secret in re.findall(r'"secret": "([^"]+)"', text):
        place = place_of("google_secret_manager_secret", {"secret_id": secret})
        if not policies.counts(place, "roles/secretmanager.secretAccessor", f"serviceAccount:{account}"):
            raise Refused(f"Error 400: Permission denied on secret: {secret} for Revision service account {account}")
