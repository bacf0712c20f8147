"""Whether the caller may deploy: only what IAM checked for the entry's own resource says so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediate.decisions.policy import Mode, Outcome, decide
from remediate.decisions.policy_file import parse_policy
from remediate.entries.authorization import is_authorized
from remediate.entries.deploy import Deploy
from remediate.entries.log_entry import AuditLog
from remediate.reasons import Reason
from tests.audit_entries import NUMBER, PROJECT, activity, denial, system_event, user_text
from tests.service.world import SAME_IMAGE, World

WHERE = Deploy(project=PROJECT, number=NUMBER, location="asia-northeast1", name="web")
V1 = f"namespaces/{PROJECT}/services/web"
V2 = f"projects/{PROJECT}/locations/asia-northeast1/services/web"
V1_PARENT, V2_PARENT = f"namespaces/{PROJECT}", f"projects/{PROJECT}/locations/asia-northeast1"


def check(permission: Any = "run.services.update", resource: Any = V1, granted: Any = True) -> dict[str, Any]:
    return {"permission": permission, "resource": resource, "granted": granted, "resourceAttributes": {}}


def told(checks: Any, resource: str | None = V1, where: Deploy = WHERE) -> bool | None:
    raw = msgspec.Raw(msgspec.json.encode(checks))
    return is_authorized(AuditLog(resource_name=resource, authorization_info=raw), where)


@pytest.mark.parametrize(
    ("checked", "resource"),
    [
        (check(), V1),
        (check(resource=V2), V2),
        (check(resource=V2), V1),
        (check(resource=V1), V2),
        (check(resource=f"//run.googleapis.com/{V2}"), V2),
        (check(resource=f"//run.googleapis.com/{V1}"), V1),
        (check(resource=f"//asia-northeast1-run.googleapis.com/{V2}"), V2),
        (check(resource=f"namespaces/{NUMBER}/services/web"), V1),
        (check(), f"namespaces/{NUMBER}/services/web"),
        (check("run.services.create"), V1),
        (check("run.services.create", V1_PARENT), V1),
        (check("run.services.create", V2_PARENT), V2),
        (check("run.services.create", V2_PARENT), V1),
        (check("run.services.create", f"projects/{PROJECT}"), V2),
        (check("run.services.create", V2), V2_PARENT),
        (check("run.services.create", V2_PARENT), V2_PARENT),
        (
            check("run.workerpools.update", f"{V2_PARENT}/workerPools/web"),
            f"namespaces/{PROJECT}/workerpools/web",
        ),
        (check(resource=None) | {"resourceAttributes": {"name": V1}}, V1),
    ],
)
def test_a_granted_permission_for_the_resource_authorizes(checked: dict[str, Any], resource: str) -> None:
    assert told([checked], resource) is True
    assert told([check("iam.serviceAccounts.actAs", "x", granted=False), checked], resource) is True
    assert told([checked, checked | {"granted": False}], resource) is False
    del checked["granted"]
    assert told([checked], resource) is False  # an absent `granted` is false


@pytest.mark.parametrize(
    "checks",
    [
        None,
        [],
        {},
        "run.services.update",
        [None, 5, "x", []],
        [check("artifactregistry.repositories.downloadArtifacts")],
        [check("iam.serviceAccounts.actAs")],
        [check("xrun.services.update")],
        [check("run.services.update\n")],
        [check("run.")],
        [check(5)],
        [check(resource=f"namespaces/{PROJECT}/services/other")],
        [check(resource=f"namespaces/{PROJECT}/jobs/web")],
        [check(resource="namespaces/other/services/web")],
        [check(resource="namespaces/999/services/web")],
        [check(resource=f"projects/{PROJECT}/locations/us-central1/services/web/x")],
        [check(resource=f"x/{V1}")],
        [check(resource=f"//evil.example/{V1}")],
        [check(resource=V1_PARENT)],  # only a create is checked on the parent
        [check("run.services.create", "projects/other")],
        [check(resource=None)],
        [check(resource=5)],
        [check(resource="")],
    ],
)
def test_what_is_about_something_else_says_nothing(checks: Any) -> None:
    assert told(checks) is None


@pytest.mark.parametrize("granted", [False, None, "true", 1, [], {}])
def test_what_is_not_granted_was_refused(granted: Any) -> None:
    assert told([check(granted=granted)]) is False
    assert told([check(), check("run.services.get", "elsewhere", granted)]) is False


def test_another_location_or_an_unknown_resource_is_not_this_one() -> None:
    assert told([check(resource=V2.replace("asia-northeast1", "us-central1"))], V2) is None
    assert told([check()], None) is None
    assert told([check()], "projects") is None
    assert told([check("run.services.create", V2)], V2_PARENT, Deploy(project=PROJECT)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8) | st.sampled_from([V1, V2, "run.services.update"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["permission", "resource", "granted"]), inner)
    ),
)


@given(st.lists(JSON, max_size=4) | JSON)
def test_no_record_authorizes_without_a_granted_permission_of_cloud_run(checks: Any) -> None:
    if told(checks) is True:
        asked = [each for each in checks if isinstance(each, dict) and str(each.get("permission")).startswith("run.")]
        assert asked
        assert all(each["granted"] is True for each in asked)


EVERYTHING = parse_policy("rules:\n  - {name: all, when: 'true', then: grant}\n", "all.yaml")


@pytest.mark.parametrize("granted", [False, None])
def test_no_rule_grants_to_a_caller_who_is_not_known_to_be_allowed_to_deploy(
    world: World, granted: bool | None
) -> None:
    entry = activity(user_text(SAME_IMAGE), images=(SAME_IMAGE,), email="nobody@gmail.com", granted=granted)
    world.logs.written = lambda _: entry
    handled = world.instance(Mode.ENFORCE, rules=lambda: EVERYTHING).handle(denial(entry))
    assert handled.decision.outcome is Outcome.ASK
    assert Reason.UNAUTHORIZED_CALLER in handled.decision.reasons
    assert handled.remediation
    assert world.registry.writes == 0
    shown = handled.remediation
    assert (shown.tally.authorized, Reason.UNAUTHORIZED_CALLER in shown.reasons) == (granted, True)


def test_a_system_event_alone_proves_no_callers_permission() -> None:
    event = system_event()
    event["protoPayload"]["authorizationInfo"] = [check(resource=event["protoPayload"]["resourceName"])]
    found = denial(event)
    assert found.authorized is None
    assert Reason.UNAUTHORIZED_CALLER in decide(found, rules=EVERYTHING).reasons
    event["protoPayload"]["authorizationInfo"][0]["granted"] = False
    assert denial(event).authorized is False
