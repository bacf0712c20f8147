"""Who may review what, and what everybody else is answered."""

from __future__ import annotations

from functools import partial

import pytest

from remediate.errors import BadInput, Refused
from remediate.iam.member import Member
from remediate.records.remediation import Remediation
from remediate.service.reviewers import Reviewers
from tests.audit_entries import DEPLOYER
from tests.records.changed import with_fields
from tests.service.helpers import proposed
from tests.service.world import World

ANA, BO, SERVICE = "ana@example.com", "bo@example.org", "serviceAccount:remediate@ops.iam.gserviceaccount.com"


@pytest.fixture
def record(world: World) -> Remediation:
    return proposed(world)


def test_anybody_reviews_where_no_reviewers_are_named(record: Remediation) -> None:
    assert Reviewers().of(record, ANA) == Member(f"user:{ANA}")
    assert Reviewers().allowed == ()


@pytest.mark.parametrize(("allowed", "may"), [(f"user:{ANA}", True), ("example.com", True), ("example.org", False)])
def test_a_reviewer_is_named_by_address_or_domain(allowed: str, may: bool) -> None:
    reviewers = Reviewers((allowed,))
    if may:
        assert reviewers.person(ANA).key == f"user:{ANA}"
        return
    with pytest.raises(Refused) as refused:
        reviewers.person(ANA)
    assert str(refused.value) == f"user:{ANA} is not a reviewer"
    assert refused.value.advice == "REMEDIATE_REVIEWERS lists the reviewers."


@pytest.mark.parametrize("actor", ["", "ana", "group:team@example.com", "allUsers"])
def test_what_is_no_address_cannot_review(actor: str) -> None:
    with pytest.raises(BadInput) as bad:
        Reviewers().person(actor)
    assert str(bad.value) == f"{actor!r} cannot review: expected the address of a user or service account"


def test_the_service_itself_reviews_nothing_and_switches_nothing() -> None:
    reviewers = Reviewers(service=(Member(SERVICE).key,), operators=(Member(SERVICE).key,))
    for ask in (reviewers.person, reviewers.switcher):
        with pytest.raises(Refused, match="is the service itself; another reviewer must decide"):
            ask(SERVICE)


def test_an_operator_switches_alone_and_a_reviewer_does_not() -> None:
    reviewers = Reviewers(("example.org",), operators=(f"user:{ANA}",))
    assert reviewers.switcher(ANA.upper()) == (Member(f"user:{ANA.upper()}"), True)
    assert reviewers.switcher(BO) == (Member(f"user:{BO}"), False)
    with pytest.raises(Refused, match="is not a reviewer"):
        reviewers.switcher("eva@example.com")


def test_the_deployer_decides_about_their_own_deploy_only_to_take_it_back(record: Remediation) -> None:
    ask = partial(Reviewers().of, with_fields(record, member=f"user:{BO}"), DEPLOYER)
    for refusing in (ask, partial(ask, cleared=lambda _: False)):
        with pytest.raises(Refused) as refused:
            refusing()
        assert str(refused.value).endswith(f"may not review {record.id}: it is about their own deploy")
        assert refused.value.advice == "A reviewer who is neither the member nor the deployer must decide."
    assert Reviewers().of(record, DEPLOYER, about_own=True).id == f"serviceAccount:{DEPLOYER}"
    others = with_fields(record, member=f"user:{BO}")
    assert Reviewers().of(others, DEPLOYER, cleared=lambda _: True).id == f"serviceAccount:{DEPLOYER}"


def test_the_member_is_never_cleared(record: Remediation) -> None:
    with pytest.raises(Refused, match="own deploy"):
        Reviewers().of(with_fields(record, deployers=()), DEPLOYER, cleared=lambda _: True)


def test_a_record_that_names_too_many_waits_for_the_log(record: Remediation) -> None:
    crowded = with_fields(record, crowded=True)
    with pytest.raises(Refused, match="names too many deployers, and the service could not read the log") as refused:
        Reviewers().of(crowded, ANA)
    assert refused.value.advice == (
        "Give the service the role to read the log. After this proposal expires, the next denial opens one that"
        " you can review."
    )
    assert Reviewers().of(crowded, ANA, about_own=True).id == f"user:{ANA}"


def test_a_rule_may_leave_it_to_some_reviewers(record: Remediation) -> None:
    left = with_fields(record, rule="sec", reviewers=(f"user:{BO}", "example.net"))
    with pytest.raises(Refused) as refused:
        Reviewers().of(left, ANA)
    assert str(refused.value) == f"user:{ANA} may not review {record.id}: rule 'sec' allows only user:{BO}, example.net"
    assert Reviewers().of(left, BO).id == f"user:{BO}"
    assert Reviewers().of(left, "eva@example.net").id == "user:eva@example.net"
    assert not Reviewers().among(("example.net",), "rule:otherwise")
