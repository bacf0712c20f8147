"""A grant is one member on one repository, and has one id."""

from __future__ import annotations

import pytest

from remediate.entries.denial import Denial, IncompleteDenial
from remediate.iam.grant import Grant
from remediate.iam.member import Member
from remediate.reasons import Reason
from tests.audit_entries import REPOSITORY, activity, bare_text, denial, understood


def test_two_spellings_of_one_member_are_one_grant() -> None:
    one, other = (Grant.parse(REPOSITORY, f"user:{each}") for each in ("Ana@example.com", "ana@example.com"))
    assert one is not None
    assert other is not None
    assert one.id == other.id
    assert one.member == Member("user:Ana@example.com")


@pytest.mark.parametrize(
    ("repository", "member"),
    [("projects/p/locations/us", "user:a@b.cc"), (REPOSITORY, "group:a@b.cc"), (REPOSITORY, "")],
)
def test_what_names_no_repository_or_no_member_is_no_grant(repository: str, member: str) -> None:
    assert Grant.parse(repository, member) is None


def test_a_denial_that_names_both_has_a_grant_and_one_that_does_not_says_what_is_missing() -> None:
    whole = denial(activity())
    assert type(whole) is Denial
    assert (str(whole.grant.repository), str(whole.grant.member)) == (str(whole.repository), str(whole.member))
    for entry, missing in (
        (activity(bare_text(None), images=(), api="v2"), (Reason.REPOSITORY_UNKNOWN,)),
        (activity(email=None), (Reason.MEMBER_UNKNOWN,)),
    ):
        found = understood(entry)
        assert isinstance(found, IncompleteDenial)
        assert found.missing == missing
        with pytest.raises(ValueError, match="no grant"):
            found.grant  # noqa: B018
