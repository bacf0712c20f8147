"""The built-in rules: what is granted without a person, what is asked, and what nobody can override."""

from __future__ import annotations

import msgspec
import pytest

from remediate.decisions.policy import BuiltIn, Mode, Outcome, decide, in_mode
from remediate.decisions.policy_file import parse_policy
from remediate.iam.grant import ROLE
from remediate.reasons import Reason
from tests.audit_entries import PROJECT, activity, denial, user_text
from tests.policies import INSIDE, WIDER

IMAGE = f"us-docker.pkg.dev/{PROJECT}/app/web"
SAME_PROJECT = denial(activity(user_text(IMAGE), images=(IMAGE,)))
CROSS_PROJECT = denial(activity())


def test_the_only_role_is_the_reader() -> None:
    assert ROLE == "roles/artifactregistry.reader"


def test_only_what_cloud_run_allowed_before_2025_is_granted_without_a_person() -> None:
    assert decide(SAME_PROJECT, INSIDE, WIDER).outcome is Outcome.GRANT
    assert decide(CROSS_PROJECT, INSIDE, WIDER).outcome is Outcome.ASK


def test_dry_run_asks_what_enforce_mode_would_grant() -> None:
    granted = decide(SAME_PROJECT, INSIDE, WIDER)
    assert in_mode(granted, Mode.ENFORCE) == granted
    asked = in_mode(granted, Mode.DRY_RUN)
    assert (asked.outcome, asked.reasons) == (Outcome.ASK, (Reason.SAME_PROJECT, Reason.DRY_RUN))


@pytest.mark.parametrize(
    ("evidence", "outcome", "reason"),
    [
        ({"repository_exists": False}, Outcome.REFUSE, Reason.REPOSITORY_NOT_FOUND),
        ({"inside_organization": False}, Outcome.REFUSE, Reason.OTHER_ORGANIZATION),
        ({"inside_organization": None}, Outcome.ASK, Reason.REPOSITORY_UNSEEN),
        ({"repository_format": "MAVEN"}, Outcome.REFUSE, Reason.NOT_IMAGES),
        ({"repository_format": None}, Outcome.ASK, Reason.FORMAT_UNKNOWN),
        ({"verified": False}, Outcome.REFUSE, Reason.UNVERIFIED_EVENT),
        ({"already_granted": True}, Outcome.IGNORE, Reason.ALREADY_GRANTED),
        ({"inherited": True}, Outcome.IGNORE, Reason.INHERITED),
        ({"repository_exists": None}, Outcome.ASK, Reason.REPOSITORY_UNSEEN),
        ({"verified": None}, Outcome.ASK, Reason.EVENT_UNVERIFIED),
        ({"opted_in": False}, Outcome.ASK, Reason.NOT_OPTED_IN),
        ({"opted_in": None}, Outcome.ASK, Reason.NOT_OPTED_IN),
        ({"already_granted": False, "inherited": False}, Outcome.GRANT, Reason.SAME_PROJECT),
    ],
)
def test_evidence_outranks_the_rules(evidence: dict[str, bool | None], outcome: Outcome, reason: Reason) -> None:
    decision = decide(SAME_PROJECT, msgspec.structs.replace(INSIDE, **evidence), WIDER)
    unknown = (Reason.ORGANIZATION_UNKNOWN,) if evidence == {"inside_organization": None} else ()
    assert (decision.outcome, decision.reasons) == (outcome, (reason, *unknown))


@pytest.mark.parametrize("doubt", [Reason.PUBLIC_MEMBER, Reason.DELETED_MEMBER, Reason.GROUP_MEMBER])
def test_a_member_that_never_gets_a_grant_is_refused(doubt: Reason) -> None:
    denied = msgspec.structs.replace(SAME_PROJECT, member=None, doubts=(doubt,))
    assert decide(denied).outcome is Outcome.REFUSE


@pytest.mark.parametrize("doubt", [Reason.IMAGE_MISMATCH, Reason.MEMBER_UNKNOWN, Reason.UNUSUAL_STATUS])
def test_any_doubt_goes_to_a_person(doubt: Reason) -> None:
    denied = msgspec.structs.replace(SAME_PROJECT, doubts=(doubt,))
    assert decide(denied).outcome is Outcome.ASK
    assert doubt in decide(denied).reasons


PROVEN = msgspec.structs.replace(INSIDE, previously_deployed=True, access_removed=False)
AUTHORIZED = msgspec.structs.replace(SAME_PROJECT, authorized=True, image_confirmed=True)


def test_the_built_in_rule_gives_back_what_the_member_deployed_before_for_ninety_days() -> None:
    decision = decide(AUTHORIZED, PROVEN)
    assert (decision.outcome, decision.rule, decision.expires_after) == (Outcome.GRANT, "same project", 90 * 86_400.0)
    assert decide(AUTHORIZED, PROVEN, BuiltIn(7)).expires_after == 7 * 86_400.0


def test_the_owner_of_a_registry_may_opt_in_to_newcomers() -> None:
    newcomer = msgspec.structs.replace(INSIDE, previously_deployed=False, access_removed=False, newcomers=True)
    assert decide(AUTHORIZED, newcomer).outcome is Outcome.GRANT
    removed = msgspec.structs.replace(newcomer, access_removed=True)
    assert decide(AUTHORIZED, removed).reasons == (Reason.ACCESS_REMOVED,)


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        ({"previously_deployed": False}, Reason.NOT_DEPLOYED_BEFORE),
        ({"previously_deployed": None}, Reason.DEPLOYS_UNKNOWN),
        ({"access_removed": True}, Reason.ACCESS_REMOVED),
        ({"access_removed": None}, Reason.ACCESS_REMOVED_UNKNOWN),
        ({"member_inside": False}, Reason.MEMBER_OUTSIDE),
        ({"member_inside": None}, Reason.MEMBER_ORGANIZATION_UNKNOWN),
        ({"repository_mode": "VIRTUAL_REPOSITORY"}, Reason.VIRTUAL_REPOSITORY),
        ({"repository_mode": "REMOTE_REPOSITORY"}, Reason.REMOTE_REPOSITORY),
        ({"repository_mode": None}, Reason.MODE_UNKNOWN),
    ],
)
def test_the_built_in_rule_asks_where_one_condition_is_missing_and_says_which(
    evidence: dict[str, object], reason: Reason
) -> None:
    decision = decide(AUTHORIZED, msgspec.structs.replace(PROVEN, **evidence))
    assert (decision.outcome, decision.reasons) == (Outcome.ASK, (reason,))


@pytest.mark.parametrize(
    ("denial_says", "reason"),
    [
        ({"image_confirmed": False}, Reason.IMAGE_UNCONFIRMED),
        ({"authorized": False}, Reason.UNAUTHORIZED_CALLER),
        ({"authorized": None}, Reason.UNAUTHORIZED_CALLER),
    ],
)
def test_the_built_in_rule_asks_where_the_entry_leaves_something_open(
    denial_says: dict[str, object], reason: Reason
) -> None:
    decision = decide(msgspec.structs.replace(AUTHORIZED, **denial_says), PROVEN)
    assert (decision.outcome, decision.reasons) == (Outcome.ASK, (reason,))


def test_an_unusual_repository_is_asked_unless_the_file_looks_at_its_mode() -> None:
    virtual = msgspec.structs.replace(PROVEN, repository_mode="VIRTUAL_REPOSITORY")
    assert decide(AUTHORIZED, virtual, WIDER).outcome is Outcome.ASK
    looks = parse_policy(
        "rules: [{name: virtual, when: 'repository.mode == \"VIRTUAL_REPOSITORY\"', then: grant}]", "policy.yaml"
    )
    assert decide(AUTHORIZED, virtual, looks).outcome is Outcome.GRANT
    assert decide(AUTHORIZED, PROVEN, looks).outcome is Outcome.ASK
