"""Each field of a denial, and each branch that fills it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from remediate.entries.denial import (
    Denial,
    Deploy,
    EntryId,
    IncompleteDenial,
    NotADenial,
    Reader,
    as_known,
    behind_of,
    deployer_of,
    people_behind,
    understand,
)
from remediate.entries.deploy import Body
from remediate.entries.log_entry import AuditLog, read_entry
from remediate.iam.member import Member
from remediate.reasons import Reason
from tests.audit_entries import (
    DEPLOYER,
    IMAGE,
    NUMBER,
    OPERATION,
    PROJECT,
    activity,
    agent_text,
    bare_text,
    denial,
    system_event,
    understood,
    user_text,
)

LOG = f"projects/{PROJECT}/logs/cloudaudit.googleapis.com%2Factivity"
AT = "2026-11-23T08:00:00.123456Z"
STAFF = "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/ana@example.com"
POOL = "principal://iam.googleapis.com/projects/1234/locations/global/workloadIdentityPools/github/subject/repo"
ANA = Member("user:ana@example.com")


def audit(**info: Any) -> AuditLog:
    """An audit log whose call has this authentication."""
    entry = activity()
    entry["protoPayload"]["authenticationInfo"] = info
    found = read_entry(json.dumps(entry).encode()).proto_payload
    assert found
    return found


def test_an_entry_has_a_key_by_its_log_its_id_and_its_time() -> None:
    assert EntryId("i", "log", "at").key == "log\ni\nat"
    assert EntryId("i", None, None).key == "\ni\n"
    assert EntryId("i", "log", "at", "whole").key == "log\nwhole\nat"
    assert EntryId(None, "log", "at").key is None
    assert EntryId() == EntryId(None, None, None, None)


def test_what_an_entry_does_not_say_is_unknown_and_never_a_no() -> None:
    bare = Denial(EntryId(), Deploy(), None, ANA, denial(activity()).repository, None)
    assert (bare.deployer, bare.operation, bare.call, bare.authorized) == (None, None, None, None)
    assert (bare.doubts, bare.others, bare.behind) == ((), (), ())
    assert (bare.image_confirmed, bare.repository_number, bare.troubleshooter) == (False, None, None)


@pytest.mark.parametrize(
    ("missing", "reasons"),
    [
        ({"member": None}, (Reason.MEMBER_UNKNOWN,)),
        ({"repository": None}, (Reason.REPOSITORY_UNKNOWN,)),
        ({"member": None, "repository": None}, (Reason.REPOSITORY_UNKNOWN, Reason.MEMBER_UNKNOWN)),
    ],
)
def test_a_denial_is_incomplete_or_whole_by_what_is_known_now(
    missing: dict[str, Any], reasons: tuple[Reason, ...]
) -> None:
    whole = denial(activity())
    assert as_known(whole) is whole
    lacking = as_known(replace(whole, **missing))
    assert isinstance(lacking, IncompleteDenial)
    assert lacking.missing == reasons
    with pytest.raises(ValueError, match=r"^an incomplete denial has no grant$"):
        lacking.grant  # noqa: B018
    again = as_known(replace(lacking, member=whole.member, repository=whole.repository))
    assert (type(again), again) == (Denial, whole)


def test_a_whole_denial_misses_nothing() -> None:
    whole = denial(activity())
    assert IncompleteDenial(*msgspec.structs.astuple(whole)).missing == ()


# What is no denial says which entry, which deploy and why


def test_what_is_no_audit_log_has_no_deploy() -> None:
    entry = {"insertId": "i", "logName": LOG, "timestamp": AT}
    assert understood(entry) == NotADenial(EntryId("i", LOG, AT), None, Reason.NOT_AUDIT_LOG)
    nameless = activity()
    del nameless["protoPayload"]["serviceName"]
    assert understood(nameless) == NotADenial(EntryId("abc123", LOG, AT), None, Reason.NOT_AUDIT_LOG)
    other = activity()
    other["protoPayload"]["serviceName"] = "compute.googleapis.com"
    assert understood(other) == NotADenial(EntryId("abc123", LOG, AT), None, Reason.NOT_CLOUD_RUN)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (activity() | {"logName": LOG.replace("activity", "data_access")}, Reason.OTHER_LOG),
        (activity("Quota exceeded."), Reason.OTHER_FAILURE),
        (activity(user_text("docker.io/library/nginx"), images=()), Reason.NOT_ARTIFACT_REGISTRY),
    ],
)
def test_what_is_no_denial_of_a_deploy_says_which_deploy(entry: dict[str, Any], reason: Reason) -> None:
    found = understood(entry)
    assert isinstance(found, NotADenial)
    assert found.entry == EntryId("abc123", entry["logName"], AT)
    assert found.deploy is not None
    assert (found.deploy.project, found.deploy.name, found.reason) == (PROJECT, "web", reason)


# Source, project, permission


def test_the_project_of_an_entry_without_labels_is_its_logs() -> None:
    entry = activity()
    del entry["resource"]["labels"]["project_id"]
    assert denial(entry).deploy.project == PROJECT


def test_a_paste_without_a_log_is_an_event_where_nobody_called() -> None:
    event = system_event(None, condition=agent_text(), code=None)
    del event["logName"]
    assert denial(event).reader is Reader.SERVICE_AGENT
    call = activity("", code=0)
    del call["logName"]
    call["protoPayload"]["response"] = event["protoPayload"]["response"]
    assert isinstance(understood(call), NotADenial)


def test_only_an_event_belongs_to_the_operation_that_its_resource_notes() -> None:
    noted = {"metadata": {"annotations": {"run.googleapis.com/operation-id": OPERATION}}}
    call = activity()
    call["protoPayload"]["response"] = noted
    assert denial(call).operation is None
    assert denial(system_event(annotations={"run.googleapis.com/operation-id": OPERATION})).operation == OPERATION


def test_a_resource_of_another_project_is_a_doubt() -> None:
    entry = activity()
    entry["protoPayload"]["resourceName"] = "namespaces/other/services/web"
    assert Reason.PROJECT_MISMATCH in denial(entry).doubts
    assert Reason.PROJECT_MISMATCH not in denial(activity()).doubts


@pytest.mark.parametrize(("path", "weighty"), [("resourceName", True), ("logName", True), ("metadata", False)])
def test_a_field_of_an_unusual_type_is_a_doubt_where_it_matters(path: str, weighty: bool) -> None:
    entry = activity()
    if path == "logName":
        entry["logName"] = 5
    else:
        entry["protoPayload"][path] = 5
    assert (Reason.UNUSUAL_FIELD in denial(entry).doubts) is weighty


@pytest.mark.parametrize(("code", "usual"), [(7, True), (9, True), (13, True), (14, False), (5, False)])
def test_a_status_code_is_usual_or_a_doubt(code: int, usual: bool) -> None:
    assert (Reason.UNUSUAL_STATUS not in denial(activity(code=code)).doubts) is usual


# Who


def test_details_that_name_the_permission_speak_for_the_deployer_of_a_call_alone() -> None:
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "IAM_PERMISSION_DENIED",
        "domain": "iam.googleapis.com",
        "metadata": {"permission": "artifactregistry.repositories.downloadArtifacts"},
    }
    call, event = activity("Forbidden."), system_event("Forbidden.")
    for entry in (call, event):
        entry["protoPayload"]["status"]["details"] = [info]
    found = denial(call)
    assert (found.reader, str(found.member)) == (Reader.DEPLOYER, f"serviceAccount:{DEPLOYER}")
    assert Reason.UNUSUAL_WORDING in found.doubts
    nobody = denial(event)
    assert (nobody.reader, nobody.member) == (None, None)
    assert {Reason.MEMBER_UNKNOWN, Reason.READER_UNKNOWN} <= set(nobody.doubts)


def test_doubts_about_image_and_agent_are_both_kept() -> None:
    text = agent_text(IMAGE, "service-999@serverless-robot-prod.iam.gserviceaccount.com")
    found = denial(system_event(text, images=(IMAGE.replace("/web", "/other"),)))
    assert {Reason.IMAGE_MISMATCH, Reason.MEMBER_MISMATCH} <= set(found.doubts)


def test_an_agents_address_that_is_none_names_no_agent() -> None:
    found = denial(system_event(agent_text(agent="a..b@serverless-robot-prod.iam.gserviceaccount.com")))
    assert (found.member, Reason.MEMBER_MISMATCH in found.doubts) == (None, True)


def test_one_noted_person_stands_behind_nobody_but_themselves() -> None:
    alone = denial(system_event(annotations={"serving.knative.dev/creator": "ana@example.com"}))
    assert (alone.deployer, alone.behind) == (ANA, ())
    two = {"serving.knative.dev/creator": "ana@example.com", "serving.knative.dev/lastModifier": "bo@example.com"}
    assert ANA in denial(system_event(annotations=two)).behind
    staff = denial(system_event(annotations={"serving.knative.dev/creator": STAFF}))
    assert staff.behind == (ANA,)


def test_nobody_stands_behind_what_nobody_called() -> None:
    event = read_entry(json.dumps(system_event()).encode()).proto_payload
    assert event
    assert behind_of(event) == ()
    assert people_behind(event, Body.of(event), None) == ()


def test_everybody_in_the_delegation_stands_behind_a_call() -> None:
    chain = [
        {"firstPartyPrincipal": {"principalEmail": "bo@example.com"}},
        {"thirdPartyPrincipal": {"principalSubject": POOL}},
    ]
    found = behind_of(audit(principalEmail=DEPLOYER, principalSubject=STAFF, serviceAccountDelegationInfo=chain))
    assert [str(each) for each in found] == [
        f"serviceAccount:{DEPLOYER}",
        STAFF,
        "user:bo@example.com",
        POOL,
        str(ANA),
    ]


@pytest.mark.parametrize(("levels", "seen"), [(3, True), (4, True), (5, False)])
def test_delegation_is_searched_to_a_depth(levels: int, seen: bool) -> None:
    deep: Any = {"principalEmail": "bo@example.com"}
    for _ in range(levels):
        deep = {"x": deep}
    found = behind_of(audit(principalEmail=DEPLOYER, serviceAccountDelegationInfo=[deep]))
    assert (Member("user:bo@example.com") in found) is seen


@pytest.mark.parametrize("wrap", [lambda many: many, lambda many: [dict(zip(map(str, range(30)), many, strict=False))]])
def test_delegation_is_searched_to_a_width(wrap: Any) -> None:
    many = [{"principalEmail": f"p{number}@example.com"} for number in range(22)]
    found = {str(each) for each in behind_of(audit(principalEmail=DEPLOYER, serviceAccountDelegationInfo=wrap(many)))}
    assert "user:p19@example.com" in found
    assert "user:p20@example.com" not in found


def test_without_impersonation_the_outside_identity_deployed() -> None:
    for email, who in ((DEPLOYER, f"serviceAccount:{DEPLOYER}"), ("ana@example.com", POOL)):
        deployer, doubts = deployer_of(audit(principalEmail=email, principalSubject=POOL), Body(None, None))
        assert (str(deployer), doubts) == (who, [])


def test_bare_words_of_a_number_are_kept_beside_the_id() -> None:
    text = bare_text(f"projects/{NUMBER}/locations/asia-northeast1/repositories/containers")
    assert isinstance(understand(read_entry(json.dumps(activity(text, api="v2")).encode())), Denial)


def test_a_check_that_names_the_project_by_number_is_about_the_same_deploy() -> None:
    entry = activity()
    [check] = entry["protoPayload"]["authorizationInfo"]
    check["resource"] = check["resource"].replace(PROJECT, NUMBER)
    assert denial(entry).authorized is True
