"""An audit log entry is a denial of one member on one repository, or nothing that we cure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from remediate.decisions.policy import Outcome, decide, service_agent_denied_next
from remediate.entries.denial import Denial, NotADenial, Reader
from remediate.entries.joining import resolve_deploying_project
from remediate.reasons import Reason
from tests.audit_entries import (
    AGENT,
    DEPLOYER,
    IMAGE,
    NUMBER,
    PROJECT,
    REPOSITORY,
    activity,
    agent_text,
    bare_text,
    denial,
    system_event,
    understood,
    user_text,
)
from tests.policies import INSIDE, WIDER

MEMBER = f"serviceAccount:{DEPLOYER}"
AGENT_MEMBER = f"serviceAccount:{AGENT}"
CROSS = (
    " Note that the image is from project [platform-images], which is not the same as this project [shop-frontend]."
    " Permission must be granted to the User from this project. See https://cloud.google.com/run/docs/deploying#other-projects"
)
CAUSE = (
    "\n Cause: 403 Forbidden\nGET https://asia-northeast1-docker.pkg.dev/v2/platform-images/containers/shop/web/manifests/v2\n"
    f'{{"errors":[{{"code":"DENIED","message":{json.dumps(bare_text())}}}]}}\n'
)


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("kind", ["service", "job", "worker_pool", "instance"])
@pytest.mark.parametrize(
    "text",
    [
        user_text(),
        user_text(tail=CROSS),
        user_text(tail=CROSS + CAUSE),
        user_text(tail=(CROSS + CAUSE).replace('"', '\\"').replace("\n", "\\n")),
        user_text(tail=" Note that platform-images/containers is not in project shop-frontend."),
        user_text().replace(" permission ", "\npermission ").replace(" read ", "\n  read "),
        f"User must have permission to read the image, '{IMAGE}'.",
        f"User must have permission to read the image,\n{IMAGE}.",
        f"User must have permission to read the image, {IMAGE}",
        f"ERROR: (gcloud.run.deploy) PERMISSION_DENIED: {user_text()}",
        f"[ana@example.com] does not have permission to access namespaces instance [p] (or it may not exist): {user_text()}",
        f"Revision 'web-00002-abc' is not ready and cannot serve traffic. {user_text()}",
        f"Error waiting to create Job: Error code 13, message: {user_text()}",
        bare_text(),
        bare_text(quote="'"),
        bare_text(quote="'", prefix="//artifactregistry.googleapis.com/"),
        bare_text().replace(" denied on ", "\ndenied on "),
        bare_text(None),
        f"Error 403: {bare_text()}",
    ],
)
def test_every_wording_of_a_deployers_denial_is_understood(text: str, kind: str, api: str) -> None:
    found = denial(activity(text, api=api, kind=kind))
    assert found.reader is Reader.DEPLOYER
    assert (str(found.member), str(found.repository)) == (MEMBER, REPOSITORY)
    assert found.image == IMAGE
    assert found.doubts == ()
    assert (found.deploy.project, found.deploy.kind, found.deploy.name) == (PROJECT, kind, "web")
    assert found.deploy.number is None  # only the request has it


@pytest.mark.parametrize(
    "text",
    [
        agent_text(),
        agent_text(agent=None),
        agent_text(agent="service-{redacted}@serverless-robot-prod.iam.gserviceaccount.com"),
        agent_text(agent=f"[{AGENT}]"),
        agent_text(agent=f"({AGENT})"),
        agent_text(agent=f"'{AGENT}'"),
        f"Revision 'web-00002-abc' is not ready and cannot serve traffic. {agent_text()}",
        f"Ready condition status changed to False for Revision web-00002-abc with message: {agent_text()}",
        agent_text().replace(" must ", "\nmust ").replace(" Service ", "\nService "),
    ],
)
@pytest.mark.parametrize("where", ["status", "v1 condition", "v2 condition"])
def test_every_wording_of_the_service_agents_denial_is_understood(text: str, where: str) -> None:
    reason = "ContainerPermissionDenied" if where == "v1 condition" else "CONTAINER_PERMISSION_DENIED"
    if where == "status":
        entry = system_event(text)
    else:
        entry = system_event("Ready condition status changed to False.", condition=text, reason=reason, code=9)
    found = denial(entry)
    assert found.reader is Reader.SERVICE_AGENT
    assert (str(found.member), str(found.repository), found.doubts) == (AGENT_MEMBER, REPOSITORY, ())


def test_a_v2_operation_tells_the_service_agents_denial_in_the_calls_own_entry() -> None:
    found = denial(activity(f"Revision 'web-1' is not ready. {agent_text()}", api="v2", code=13))
    assert (found.reader, str(found.member), str(found.deployer)) == (Reader.SERVICE_AGENT, AGENT_MEMBER, MEMBER)


def _with(entry: dict[str, Any], **payload: Any) -> dict[str, Any]:
    entry["protoPayload"] |= payload
    return entry


def test_an_instance_is_a_kind_of_its_own() -> None:
    v2 = activity(bare_text(None), api="v2", kind="instance")
    found = denial(v2)
    assert (found.deploy.kind, found.deploy.name, str(found.repository), found.doubts) == (
        "instance",
        "web",
        REPOSITORY,
        (),
    )
    del v2["resource"]
    assert denial(v2).deploy.kind == "instance"
    typed = f"Permission 'iam.serviceaccounts.actAs' denied on service account {user_text()} (or it may not exist)."
    echoed = understood(activity(typed, api="v2", kind="instance"))
    assert isinstance(echoed, NotADenial)
    assert echoed.reason is Reason.ACT_AS


@pytest.mark.parametrize("condition", ["Running", "ContainerReady"])
def test_an_instances_own_conditions_tell_without_a_status_code(condition: str) -> None:
    entry = system_event(None, condition=agent_text(), code=None)
    response = entry["protoPayload"]["response"]
    response["status"]["conditions"][0]["type"] = condition
    assert isinstance(understood(entry), NotADenial) == (condition == "ContainerReady")
    response["kind"] = "Instance"
    assert denial(entry).doubts == ()


@pytest.mark.parametrize(
    ("text", "images", "confirmed"),
    [
        (user_text(), (IMAGE,), True),
        (user_text(), (IMAGE.replace(":v2", "@sha256:abcd"), "nginx"), True),
        (bare_text(), (IMAGE,), True),
        (user_text(), (), False),
        (bare_text(None), (IMAGE,), False),
        (user_text(), ("us-docker.pkg.dev/other/r/i",), False),
        (bare_text(), ("us-docker.pkg.dev/other/r/i",), False),
        (user_text(), (IMAGE.replace("shop/web", "shop/other"),), False),
    ],
)
def test_an_image_is_confirmed_where_text_and_structure_name_it(
    text: str, images: tuple[str, ...], confirmed: bool
) -> None:
    entry = activity(text, images=images)
    assert denial(entry).image_confirmed is confirmed
    entry["split"] = {"uid": "x"}
    assert denial(entry).image_confirmed is False


@pytest.mark.parametrize(
    ("path", "value", "doubtful"),
    [
        (("insertId",), 7, False),
        (("timestamp",), ["x"], False),
        (("resource", "labels"), [1], False),
        (("protoPayload", "resourceLocation"), {"currentLocations": [1]}, False),
        (("protoPayload", "resourceLocation"), "x", False),
        (("protoPayload", "methodName"), {"x": 1}, False),
        (("protoPayload", "status", "code"), "PERMISSION_DENIED", True),
        (("protoPayload", "authenticationInfo", "principalSubject"), {"x": 1}, True),
        (("split",), "x", True),
        (("operation",), [], True),
    ],
)
def test_a_field_of_an_unusual_type_counts_as_absent_and_never_helps(
    path: tuple[str, ...], value: object, doubtful: bool
) -> None:
    entry = activity(user_text(SAME), images=(SAME,))
    node = entry
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    found = denial(entry)
    assert str(found.member) == MEMBER
    assert (Reason.UNUSUAL_FIELD in found.doubts) is doubtful
    if doubtful:
        assert decide(found).outcome is Outcome.ASK


@pytest.mark.parametrize("field", ["status", "authenticationInfo", "serviceName"])
def test_a_payload_without_what_it_hangs_on_is_never_granted(field: str) -> None:
    found = understood(_with(activity(user_text(SAME), images=(SAME,)), **{field: ["x"]}))
    assert decide(found).outcome is not Outcome.GRANT


def test_an_agent_identity_is_asked() -> None:
    agent = "principal://agents.global.org-1.system.id.goog/resources/aiplatform/projects/2/locations/us-east4/reasoningEngines/7"
    found = denial(activity(user_text(SAME), images=(SAME,), email=None, subject=agent))
    assert str(found.member) == agent
    assert Reason.AGENT_IDENTITY in decide(found).reasons
    assert decide(found).outcome is Outcome.ASK


def test_the_projects_own_agent_is_not_shared_and_anothers_is() -> None:
    own = denial(system_event(agent_text(SAME), images=(SAME,), annotations={"serving.knative.dev/creator": "a@b.com"}))
    assert own.is_shared is False
    assert decide(replace(own, authorized=True), INSIDE, WIDER).outcome is Outcome.GRANT
    as_deployer = denial(activity(user_text(SAME), images=(SAME,), email=AGENT))
    assert as_deployer.is_shared
    nameless = denial(system_event(agent_text(SAME), images=(SAME,), number=None))
    assert (nameless.is_shared, decide(nameless).outcome) == (None, Outcome.ASK)
    assert decide(as_deployer).outcome is Outcome.ASK


def test_a_subject_that_looks_like_an_address_names_a_person_in_workforce_pools_alone() -> None:
    workforce = "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/boss@corp.example"
    workload = FEDERATED.replace("repo:acme/shop", "boss@corp.example")
    assert [str(each) for each in denial(activity(subject=workforce)).behind] == [
        MEMBER,
        workforce,
        "user:boss@corp.example",
    ]
    assert [str(each) for each in denial(activity(subject=workload)).behind] == [MEMBER, workload]


LOOK_ALIKES = {
    Reason.IMAGE_NOT_FOUND: f"Revision 'x' is not ready and cannot serve traffic. Image '{IMAGE}' not found.",
    Reason.BINARY_AUTHORIZATION: f"Container image '{IMAGE}' is not authorized by policy. Image {IMAGE} denied by attestor projects/p/attestors/a",
    Reason.VPC_SERVICE_CONTROLS: "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: kmpY9",
    Reason.ACT_AS: "Permission 'iam.serviceaccounts.actAs' denied on service account sa@p.iam.gserviceaccount.com",
    Reason.RUN_PERMISSION: "Permission 'run.services.get' denied on resource 'namespaces/p/services/s' (or resource may not exist).",
    Reason.SECRET_MANAGER: "Permission denied on secret: projects/p/secrets/s/versions/1 for Revision service account x.",
    Reason.KMS: "Permission denied on Cloud KMS key. Please ensure that your account has been authorized to use this key.",
    Reason.UPLOAD_ARTIFACTS: bare_text().replace("downloadArtifacts", "uploadArtifacts"),
    Reason.ACCESS_TOKEN: f"Google Cloud Run Service Agent does not have permission to get access tokens for the service account x. Please give {AGENT} permission iam.serviceAccounts.getAccessToken",
    Reason.OTHER_PERMISSION: bare_text().replace("downloadArtifacts", "create"),
    Reason.UNSUPPORTED_REGISTRY: f"Expected an image path like [host/]repo-path[:tag], but obtained x: {user_text()}",
    Reason.NOT_ARTIFACT_REGISTRY: user_text("mirror.gcr.io/acme/app:latest"),
    Reason.OTHER_FAILURE: "The user-provided container failed to start and listen on the port.",
}


@pytest.mark.parametrize(("reason", "text"), LOOK_ALIKES.items())
def test_each_look_alike_is_ignored_by_its_name(reason: Reason, text: str) -> None:
    found = understood(activity(text, images=("mirror.gcr.io/acme/app:latest",)))
    assert isinstance(found, NotADenial)
    assert found.reason is reason
    assert decide(found).outcome is Outcome.IGNORE


@pytest.mark.parametrize(
    "service", ["cloudbuild.googleapis.com", "container.googleapis.com", "cloudfunctions.googleapis.com"]
)
@pytest.mark.parametrize("text", [user_text(), agent_text(), bare_text()])
def test_the_same_sentence_of_another_service_is_not_ours(service: str, text: str) -> None:
    found = understood(_with(activity(text), serviceName=service))
    assert isinstance(found, NotADenial)
    assert found.reason is Reason.NOT_CLOUD_RUN


def test_service_controls_hide_under_the_very_same_sentence() -> None:
    violation = {"@type": "x", "violations": [{"type": "VPC_SERVICE_CONTROLS", "description": "id"}]}
    in_details = activity()
    in_details["protoPayload"]["status"]["details"] = [violation]
    in_metadata = _with(activity(), metadata={"vpcServiceControlsUniqueId": "kmpY9"})
    for entry in (in_details, in_metadata):
        found = understood(entry)
        assert isinstance(found, NotADenial)
        assert found.reason is Reason.VPC_SERVICE_CONTROLS


def test_our_own_grant_is_a_policy_change() -> None:
    method = "google.devtools.artifactregistry.v1.ArtifactRegistry.SetIamPolicy"
    found = understood(_with(activity(), serviceName="artifactregistry.googleapis.com", methodName=method))
    assert isinstance(found, NotADenial)
    assert found.reason is Reason.POLICY_CHANGE


def test_a_call_that_went_through_is_no_denial_whatever_the_deploy_before_it_was() -> None:
    stale = {
        "status": {
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "ContainerPermissionDenied", "message": agent_text()}
            ]
        }
    }
    found = understood(_with(activity(), status={}, response=stale))
    assert isinstance(found, NotADenial)
    assert found.reason is Reason.SUCCEEDED


def test_the_old_warning_failed_no_deploy() -> None:
    found = understood(activity(f"User does not have access to image {IMAGE}", code=0))
    assert isinstance(found, NotADenial)
    assert found.reason is Reason.WARNING_ONLY


@pytest.mark.parametrize("code", [0, 2, 3, 5, 16])
def test_an_unusual_status_code_is_asked_not_decided(code: int) -> None:
    found = denial(activity(code=code, images=()))
    assert found.doubts == (Reason.UNUSUAL_STATUS,)
    assert decide(found).outcome is Outcome.ASK


SAME = f"asia-northeast1-docker.pkg.dev/{PROJECT}/app/web:v2"


@pytest.mark.parametrize(
    ("entry", "repository", "reason"),
    [
        (
            activity(user_text(SAME), images=(IMAGE,)),
            f"projects/{PROJECT}/locations/asia-northeast1/repositories/app",
            Reason.IMAGE_MISMATCH,
        ),
        (activity(user_text(SAME, tail=CAUSE), images=(SAME,)), REPOSITORY, Reason.IMAGE_MISMATCH),
        (activity(bare_text(), images=(SAME,)), REPOSITORY, Reason.IMAGE_MISMATCH),
        (
            activity(user_text("asia-northeast1-docker.pkg.dev/プロジェクト ID/r/i:latest"), images=()),
            None,
            Reason.REPOSITORY_UNKNOWN,
        ),
        (
            activity(user_text("REGION.pkg.dev/PROJECT_ID/REPO/IMAGE:latest"), images=()),
            None,
            Reason.REPOSITORY_UNKNOWN,
        ),
        (activity(bare_text(None), images=()), None, Reason.REPOSITORY_UNKNOWN),
        (activity(bare_text(None), images=(IMAGE, SAME)), None, Reason.REPOSITORY_UNKNOWN),
        (activity(bare_text(".../repositories/containers"), images=()), None, Reason.REPOSITORY_UNKNOWN),
    ],
)
def test_where_the_image_is_contradictory_or_missing_a_person_is_asked(
    entry: dict[str, Any], repository: str | None, reason: Reason
) -> None:
    found = denial(entry)
    assert reason in found.doubts
    assert (str(found.repository) if found.repository else None) == repository
    assert decide(found).outcome is Outcome.ASK


def test_of_many_containers_only_the_denied_one_counts() -> None:
    sidecar = "us-docker.pkg.dev/other-project/tools/proxy:1"
    found = denial(activity(images=(sidecar, "nginx", IMAGE)))
    assert (str(found.repository), found.image, found.doubts) == (REPOSITORY, IMAGE, ())


def test_tag_in_the_text_and_digest_in_the_deploy_are_one_image() -> None:
    assert denial(activity(images=(IMAGE.replace(":v2", "@sha256:" + "a" * 64),))).doubts == ()


def test_a_project_named_by_number_is_told_by_its_id_where_the_entry_knows_it() -> None:
    by_number = bare_text(REPOSITORY.replace("platform-images", "998877665544"))
    assert str(denial(activity(user_text(tail=f" Cause: {by_number}"))).repository) == REPOSITORY
    own = bare_text(f"projects/{NUMBER}/locations/asia-northeast1/repositories/app")
    found = denial(activity(own, images=(SAME,)))
    assert str(found.repository) == f"projects/{PROJECT}/locations/asia-northeast1/repositories/app"
    assert decide(found, INSIDE, WIDER).outcome is Outcome.GRANT
    alone = denial(activity(by_number, images=()))
    assert alone.repository
    assert alone.repository.project == "998877665544"


def test_an_update_of_scaling_alone_names_no_image_and_is_still_denied() -> None:
    found = denial(activity(bare_text(), api="v2", images=()))
    assert (str(found.repository), found.image, found.doubts) == (REPOSITORY, None, ())


def test_the_annotation_stands_in_where_entries_of_2023_have_no_containers() -> None:
    entry = activity(bare_text(None), images=())
    metadata = {"annotations": {"client.knative.dev/user-image": IMAGE}}
    entry["protoPayload"]["request"] = {"service": {"spec": {"template": {"metadata": metadata}}}}
    found = denial(entry)
    assert (str(found.repository), found.image) == (REPOSITORY, IMAGE)


FEDERATED = (
    "principal://iam.googleapis.com/projects/1234/locations/global/workloadIdentityPools/github/subject/repo:acme/shop"
)


@pytest.mark.parametrize(
    ("email", "subject", "member", "doubts"),
    [
        ("ana@example.com", None, "user:ana@example.com", ()),
        ("ana@example.com", "user:ana@example.com", "user:ana@example.com", ()),
        (DEPLOYER, f"serviceAccount:{DEPLOYER}", MEMBER, ()),
        (DEPLOYER, FEDERATED, MEMBER, ()),
        (None, FEDERATED, FEDERATED, ()),
        (None, f"serviceAccount:{DEPLOYER}", MEMBER, ()),
        ("ana@example.com", "user:bo@example.com", "user:ana@example.com", (Reason.MEMBER_MISMATCH,)),
        (None, None, None, (Reason.MEMBER_UNKNOWN,)),
        ("[redacted]", None, None, (Reason.MEMBER_UNKNOWN,)),
        ("allUsers", None, None, (Reason.PUBLIC_MEMBER,)),
        (None, f"deleted:serviceAccount:{DEPLOYER}?uid=1", None, (Reason.DELETED_MEMBER,)),
        (DEPLOYER, f"deleted:serviceAccount:{DEPLOYER}?uid=1", None, (Reason.DELETED_MEMBER,)),
        (
            None,
            "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/*",
            None,
            (Reason.GROUP_MEMBER,),
        ),
    ],
)
def test_who_deployed_is_one_identity_or_a_reason(
    email: str | None, subject: str | None, member: str | None, doubts: tuple[Reason, ...]
) -> None:
    found = denial(activity(email=email, subject=subject))
    assert (str(found.member) if found.member else None, found.doubts) == (member, doubts)


@pytest.mark.parametrize(
    ("kind", "annotations", "deployer"),
    [
        ("Revision", {"serving.knative.dev/creator": "ana@example.com"}, "user:ana@example.com"),
        (
            "Service",
            {"serving.knative.dev/creator": "old@example.com", "serving.knative.dev/lastModifier": "ana@example.com"},
            "user:ana@example.com",
        ),
        (
            "Execution",
            {"run.googleapis.com/creator": "old@example.com", "run.googleapis.com/lastModifier": "ana@example.com"},
            "user:ana@example.com",
        ),
        ("Service", {}, None),
    ],
)
def test_a_system_event_names_its_deployer_in_annotations(
    kind: str, annotations: dict[str, str], deployer: str | None
) -> None:
    agents = denial(system_event(kind=kind, annotations=annotations))
    assert (str(agents.deployer) if agents.deployer else None) == deployer
    users = denial(system_event(user_text(), kind=kind, annotations=annotations))
    assert users.reader is Reader.DEPLOYER
    assert (str(users.member) if users.member else None) == deployer


def test_a_previous_deployer_inside_the_request_is_never_the_member() -> None:
    entry = activity(email=None)
    entry["protoPayload"]["request"]["service"]["metadata"]["annotations"] = {
        "serving.knative.dev/lastModifier": "old@example.com"
    }
    assert denial(entry).member is None


OTHER_AGENT = "service-999@serverless-robot-prod.iam.gserviceaccount.com"


@pytest.mark.parametrize(
    ("entry", "member", "reason"),
    [
        (system_event(agent_text(agent=None), number=None), None, Reason.PROJECT_NUMBER_UNKNOWN),
        (
            system_event(
                agent_text() + f" Permission must be granted to the Google Cloud Run Service Agent {OTHER_AGENT}."
            ),
            None,
            Reason.MEMBER_MISMATCH,
        ),
        (system_event(agent_text(agent="mallory@evil.com")), None, Reason.MEMBER_MISMATCH),
        (system_event(agent_text(agent=OTHER_AGENT)), f"serviceAccount:{OTHER_AGENT}", Reason.MEMBER_MISMATCH),
    ],
)
def test_a_service_agent_that_is_missing_or_contradictory_is_asked(
    entry: dict[str, Any], member: str | None, reason: Reason
) -> None:
    found = denial(entry)
    assert reason in found.doubts
    assert (str(found.member) if found.member else None) == member
    assert decide(found).outcome is Outcome.ASK


def test_a_condition_in_an_unknown_wording_is_asked() -> None:
    found = denial(system_event(None, condition="The image could not be pulled.", code=9))
    assert (found.reader, found.member) == (None, None)
    assert Reason.READER_UNKNOWN in found.doubts


def test_every_part_of_a_split_entry_is_the_same_denial() -> None:
    parts = [activity(insert_id=f"abc-{index}") for index in range(3)]
    for index, part in enumerate(parts):
        part["split"] = {"uid": "abc", "index": index, "totalSplits": 3}
        part["protoPayload"]["request"]["service"]["spec"]["template"]["spec"]["containers"] = [
            {"image": IMAGE[: 9 * index]}
        ]
    found = [denial(part) for part in parts]
    assert {one.entry.key for one in found} == {found[0].entry.key}
    assert {(str(one.member), str(one.repository), one.doubts) for one in found} == {(MEMBER, REPOSITORY, ())}


def test_redacted_fields_leave_the_text_to_tell() -> None:
    entry = activity(images=())
    entry["protoPayload"]["redactions"] = [{"field": "request.service.spec.template.spec.containers"}]
    assert str(denial(entry).repository) == REPOSITORY


def test_a_same_project_deploy_is_granted_and_a_cross_project_one_asked_with_its_second_hop() -> None:
    same = denial(activity(user_text(SAME), images=(SAME,)))
    assert decide(same, INSIDE, WIDER).outcome is Outcome.GRANT
    assert service_agent_denied_next(same) is None
    cross = denial(activity())
    assert decide(cross, INSIDE).reasons == (Reason.CROSS_PROJECT,)
    assert service_agent_denied_next(cross) is None  # the number stands in the request alone
    known = resolve_deploying_project(cross, PROJECT, NUMBER)
    assert isinstance(known, Denial)
    assert str(service_agent_denied_next(known)) == AGENT_MEMBER
    assert service_agent_denied_next(denial(system_event())) is None


def test_a_shared_identity_is_asked_even_in_its_own_project() -> None:
    shared = denial(activity(user_text(SAME), images=(SAME,), email=f"{NUMBER}-compute@developer.gserviceaccount.com"))
    assert decide(shared).outcome is Outcome.ASK
    assert Reason.SHARED_IDENTITY in decide(shared).reasons


@pytest.mark.parametrize(
    ("named", "doubts"), [(DEPLOYER, ()), ("ana@example.com", (Reason.MEMBER_MISMATCH,)), ("***@***", ())]
)
def test_a_text_that_names_another_user_than_the_caller_is_asked(named: str, doubts: tuple[Reason, ...]) -> None:
    assert denial(activity(user_text().replace("User must", f"User [{named}] must"))).doubts == doubts


def test_where_the_deploying_project_is_not_told_a_person_is_asked() -> None:
    entry = activity(user_text(SAME), images=(), number=None)
    del entry["logName"], entry["resource"], entry["protoPayload"]["resourceName"]
    reasons = (
        Reason.SOURCE_UNKNOWN,
        Reason.PROJECT_UNKNOWN,
        Reason.UNAUTHORIZED_CALLER,
        Reason.MEMBER_ORGANIZATION_UNKNOWN,
    )
    assert (decide(denial(entry)).outcome, decide(denial(entry)).reasons) == (Outcome.ASK, reasons)


@pytest.mark.parametrize(("number", "agrees"), [(NUMBER, True), ("999999999999", False)])
def test_a_number_beside_the_deploying_projects_id_has_to_be_its_own(number: str, agrees: bool) -> None:
    text = bare_text(f"projects/{number}/locations/asia-northeast1/repositories/app")
    image = f"asia-northeast1-docker.pkg.dev/{PROJECT}/app/web:v1"
    found = denial(system_event(text, images=(image,)))
    assert (Reason.IMAGE_MISMATCH not in found.doubts) is agrees
    assert found.image_confirmed is agrees


def test_a_number_beside_another_projects_id_is_kept_for_resource_manager() -> None:
    text = bare_text("projects/999999999999/locations/asia-northeast1/repositories/containers")
    found = denial(system_event(text, images=(IMAGE,)))
    assert (str(found.repository), found.repository_number) == (REPOSITORY, "999999999999")
