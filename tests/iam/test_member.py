"""An identity in a log entry becomes one IAM member, or a reason why it never does."""

from __future__ import annotations

import pytest

from remediate.iam.member import Member, MemberKind, parse_member, reviewer_key, run_service_agent
from remediate.reasons import Reason

POOL = "principal://iam.googleapis.com/projects/1234/locations/global/workloadIdentityPools/github/subject/"

GKE = (
    "principal://iam.googleapis.com/projects/1234/locations/global/workloadIdentityPools/shop-web.svc.id.goog"
    "/subject/ns/ci/sa/runner"
)
AGENTS = (
    "principal://agents.global.org-616463121992.system.id.goog/resources/aiplatform/projects/42/locations/us-central1/reasoningEngines/77",
    "principal://agents.global.proj-548847028907.system.id.goog/resources/aiplatform/projects/42/locations/us-east4/reasoningEngines/77",
)


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("ana@example.com", "user:ana@example.com"),
        ("user:ana@example.com", "user:ana@example.com"),
        ("x@p.iam.gserviceaccount.com", "serviceAccount:x@p.iam.gserviceaccount.com"),
        (
            "serviceAccount:1-compute@developer.gserviceaccount.com",
            "serviceAccount:1-compute@developer.gserviceaccount.com",
        ),
        (POOL + "repo:acme/shop:ref:refs/heads/main", POOL + "repo:acme/shop:ref:refs/heads/main"),
        (
            "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/ana",
            "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/ana",
        ),
        *((each, each) for each in (GKE, GKE.replace("shop-web.", "example.com:shop-web."), *AGENTS)),
    ],
)
def test_one_identity_is_one_member(text: str, member: str) -> None:
    assert parse_member(text) == Member(member)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("allUsers", Reason.PUBLIC_MEMBER),
        ("ALLUSERS", Reason.PUBLIC_MEMBER),
        ("allAuthenticatedUsers", Reason.PUBLIC_MEMBER),
        ("deleted:serviceAccount:x@p.iam.gserviceaccount.com?uid=1", Reason.DELETED_MEMBER),
        ("group:team@example.com", Reason.GROUP_MEMBER),
        ("domain:example.com", Reason.GROUP_MEMBER),
        (
            "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/*",
            Reason.GROUP_MEMBER,
        ),
        ("", Reason.MEMBER_UNKNOWN),
        ("ana", Reason.MEMBER_UNKNOWN),
        ("ana@localhost", Reason.MEMBER_UNKNOWN),
        ("ana@example.com\n", Reason.MEMBER_UNKNOWN),
        ("ana..b@example.com", Reason.MEMBER_UNKNOWN),
        ("ana@example.com,allUsers", Reason.MEMBER_UNKNOWN),
        ("ana@ex\u0430mple.com", Reason.MEMBER_UNKNOWN),
        ("user:x@p.iam.gserviceaccount.com", Reason.MEMBER_UNKNOWN),
        ("serviceAccount:ana@example.com", Reason.MEMBER_UNKNOWN),
        (POOL + "*\n", Reason.MEMBER_UNKNOWN),
        (GKE.replace("shop-web.svc.id.goog", "evil.example"), Reason.MEMBER_UNKNOWN),
        (AGENTS[0].replace("principal:", "principalSet:"), Reason.GROUP_MEMBER),
        (AGENTS[0].replace(".system.id.goog", ".system.id.goog.evil.example"), Reason.MEMBER_UNKNOWN),
        (AGENTS[0] + "/*", Reason.MEMBER_UNKNOWN),
        (AGENTS[0].replace("org-", "org-x"), Reason.MEMBER_UNKNOWN),
        ("a" * 10_000 + "@example.com", Reason.MEMBER_UNKNOWN),
    ],
)
def test_what_is_not_one_living_identity_is_no_member(text: str, reason: Reason) -> None:
    assert parse_member(text) is reason


@pytest.mark.parametrize(
    "address",
    [
        "1-compute@developer.gserviceaccount.com",
        "my-project@appspot.gserviceaccount.com",
        "1@cloudbuild.gserviceaccount.com",
        "1@cloudservices.gserviceaccount.com",
        "service-1@gcf-admin-robot.iam.gserviceaccount.com",
        "service-1@gcp-sa-clouddeploy.iam.gserviceaccount.com",
        "service-1@gcp-sa-cloudbuild.iam.gserviceaccount.com",
        "service-1@gcp-sa-config.iam.gserviceaccount.com",
        "service-1@gcp-sa-firebaseapphosting.iam.gserviceaccount.com",
        "service-1@gcp-sa-yakima.iam.gserviceaccount.com",
        "service-1@container-engine-robot.iam.gserviceaccount.com",
        "service-1@serverless-robot-prod.iam.gserviceaccount.com",
        "service-org-1@gcp-sa-scc-notification.iam.gserviceaccount.com",
        "p123456789012-abc@gcp-sa-cloud-sql.iam.gserviceaccount.com",
        "project-123456789012@storage-transfer-service.iam.gserviceaccount.com",
        "x@gae-api-prod.google.com.iam.gserviceaccount.com",
        "1@project.gserviceaccount.com",
        "SERVICE-1@GCP-SA-YAKIMA.iam.gserviceaccount.com",
    ],
)
def test_identities_that_many_deploys_share_are_known(address: str) -> None:
    member = parse_member(address)
    assert isinstance(member, Member)
    assert member.is_shared


@pytest.mark.parametrize(
    "address",
    [
        "ana@example.com",
        "x@p.iam.gserviceaccount.com",
        "compute@p.iam.gserviceaccount.com",
        "deploy-2024@my-robot.iam.gserviceaccount.com",
        "ci@shop.example.com.iam.gserviceaccount.com",
        "service-account@p.iam.gserviceaccount.com",
    ],
)
def test_one_deployers_own_identity_is_not_shared(address: str) -> None:
    member = parse_member(address)
    assert isinstance(member, Member)
    assert not member.is_shared


@pytest.mark.parametrize(
    ("address", "project"),
    [
        ("x@my-project.iam.gserviceaccount.com", "my-project"),
        ("x@proj.example.com.iam.gserviceaccount.com", "example.com:proj"),
        ("1234-compute@developer.gserviceaccount.com", "1234"),
        ("my-project@appspot.gserviceaccount.com", "my-project"),
        ("ana@example.com", None),
        ("My_Project@appspot.gserviceaccount.com", None),
        ("my-project-compute@developer.gserviceaccount.com", None),
        ("0-compute@developer.gserviceaccount.com", None),
        ("x@9project.iam.gserviceaccount.com", None),
        ("1234@cloudservices.gserviceaccount.com", None),
    ],
)
def test_a_service_account_tells_its_project(address: str, project: str | None) -> None:
    member = parse_member(address)
    assert isinstance(member, Member)
    assert member.project == project


def test_the_service_agent_is_made_of_the_projects_number() -> None:
    agent = run_service_agent("1234")
    assert agent.kind is MemberKind.SERVICE_ACCOUNT
    assert agent.run_agent_of == "1234"
    with pytest.raises(ValueError, match="not a project number"):
        run_service_agent("my-project")


def test_two_spellings_of_one_address_are_one_identity() -> None:
    assert Member("user:Ana@Example.com").key == Member("user:ana@example.com").key
    assert Member(POOL + "A").key != Member(POOL + "a").key


def test_an_agent_identity_is_told_from_other_federated_members() -> None:
    assert all(Member(each).is_agent_identity for each in AGENTS)
    assert not Member(GKE).is_agent_identity


def test_a_workforce_pools_subject_may_be_a_person_and_a_workload_pools_never_is() -> None:
    staff = "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/"
    assert (Member(staff + "ana@example.com").workforce_pool, Member(GKE).workforce_pool) == ("staff", None)
    assert Member(staff + "ana@example.com").person == Member("user:ana@example.com")
    assert Member(staff + "ana").person is None
    assert Member(POOL + "ana@example.com").person is None
    assert Member("user:ana@example.com").person is None
    assert Member("user:ana@example.com").workforce_pool is None


def test_a_workforces_subject_is_the_same_address_in_either_spelling() -> None:
    pool = "principal://iam.googleapis.com/locations/global/workforcePools/corp/subject/"
    assert (
        Member(f"{pool}ana%40example.com").person
        == Member(f"{pool}ana@example.com").person
        == Member("user:ana@example.com")
    )


def test_a_federated_identity_has_no_domain_even_where_its_subject_is_an_address() -> None:
    assert Member(POOL + "ana@example.com").domain is None
    assert Member("user:Ana@Example.com").domain == "example.com"


def test_a_member_has_at_most_1024_characters() -> None:
    longest = "a@" + "a." * 510 + "co"
    assert len(longest) == 1024
    assert parse_member(longest) == Member(f"user:{longest}")
    assert parse_member("a" + longest) is Reason.MEMBER_UNKNOWN


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Ana@Example.com", "user:ana@example.com"),
        ("@Example.com", "example.com"),
        ("example.com", "example.com"),
        ("example.\u212aom", None),
        ("localhost", None),
        ("", None),
    ],
)
def test_a_reviewer_is_an_address_or_a_domain(text: str, key: str | None) -> None:
    assert reviewer_key(text) == key
