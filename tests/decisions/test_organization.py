"""Where a member lives: in our organization, outside of it, or nobody can tell."""

from __future__ import annotations

import pytest

from remediate.decisions.organization import Home, HomeNames, home_by_name, home_offline, home_project
from remediate.entries.denial import Deploy
from remediate.iam.member import Member

OURS = HomeNames(("example.com",), ("corp",))
POOL = "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/gh/subject/x"
WORKFORCE = "principal://iam.googleapis.com/locations/global/workforcePools/{}/subject/ana@example.com"
AGENT = "principal://agents.global.org-400000000001.system.id.goog/resources/aiplatform/x"


@pytest.mark.parametrize(
    ("member", "project"),
    [
        ("serviceAccount:ci@shop-frontend.iam.gserviceaccount.com", "shop-frontend"),
        ("serviceAccount:ci@shop.example.com.iam.gserviceaccount.com", "example.com:shop"),
        ("serviceAccount:shop-frontend@appspot.gserviceaccount.com", "shop-frontend"),
        ("serviceAccount:123456789012-compute@developer.gserviceaccount.com", "123456789012"),
        ("serviceAccount:service-123456789012@gcp-sa-yakima.iam.gserviceaccount.com", "123456789012"),
        ("serviceAccount:123456789012@cloudbuild.gserviceaccount.com", "123456789012"),
        ("serviceAccount:service-123456789012@serverless-robot-prod.iam.gserviceaccount.com", "123456789012"),
        ("serviceAccount:123456789012@cloudservices.gserviceaccount.com", "123456789012"),
        ("serviceAccount:service-123456789012@evil.iam.gserviceaccount.com", "evil"),
        ("serviceAccount:service-123456789012@gcp-sa-evil.iam.gserviceaccount.com", "gcp-sa-evil"),
        ("serviceAccount:service-123456789012@evil.example.com.iam.gserviceaccount.com", "example.com:evil"),
        ("serviceAccount:service-123456789012@my-gcp-sa-yakima.iam.gserviceaccount.com", "my-gcp-sa-yakima"),
        (POOL, "123456789012"),
        (POOL.replace("/gh/", "/shop-frontend.svc.id.goog/"), "123456789012"),
        (WORKFORCE.format("corp"), None),
        ("user:ana@example.com", None),
        (AGENT, None),
    ],
)
def test_an_identity_lives_in_the_project_that_its_name_tells(member: str, project: str | None) -> None:
    assert home_project(Member(member)) == project


@pytest.mark.parametrize(
    ("member", "inside"),
    [
        ("user:ana@example.com", True),
        ("user:ana@EXAMPLE.com", True),
        ("user:mallory@gmail.com", False),
        ("user:mallory@sub.example.com", False),
        ("user:mallory@example.com.evil.org", False),
        (WORKFORCE.format("corp"), True),
        (WORKFORCE.format("corp2"), False),
        (AGENT, True),
        (AGENT.replace("400000000001", "400000000002"), False),
    ],
)
def test_people_and_pools_are_ours_by_the_names_in_the_settings(member: str, inside: bool) -> None:
    assert home_by_name(Member(member), OURS, "400000000001").inside is inside


@pytest.mark.parametrize("member", ["user:ana@example.com", WORKFORCE.format("corp"), AGENT])
def test_without_names_nothing_is_known(member: str) -> None:
    assert home_by_name(Member(member), HomeNames(), None).inside is None


def test_an_account_that_is_called_like_a_service_agent_of_ours_lives_where_it_lives() -> None:
    lookalike = Member("serviceAccount:service-123456789012@evil-project.iam.gserviceaccount.com")
    assert home_offline(OURS)(lookalike, Deploy("shop-frontend", "123456789012")) is None


def test_an_export_knows_the_deploying_project_alone() -> None:
    inside = home_offline(OURS)
    deploy = Deploy("shop-frontend", "123456789012")
    assert inside(Member("serviceAccount:ci@shop-frontend.iam.gserviceaccount.com"), deploy) is True
    assert inside(Member(POOL), deploy) is True
    assert inside(Member("serviceAccount:ci@elsewhere.iam.gserviceaccount.com"), deploy) is None
    assert inside(Member("user:mallory@gmail.com"), deploy) is False


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [(True, True, True), (True, False, False), (False, None, False), (True, None, None), (None, True, None)],
)
def test_a_grant_that_serves_two_is_inside_where_both_are(
    one: bool | None, other: bool | None, both: bool | None
) -> None:
    assert Home(one, ("projects/p",)).with_other(Home(other)) == Home(both, ("projects/p",))
