"""The built-in rules: what is granted without a person, what is asked, and what nobody can override."""

from __future__ import annotations

import msgspec
import pytest

from remediate.policy import ROLE, Mode, Outcome, decide, in_mode
from remediate.reasons import Reason
from remediate.variables import ASSUMED
from tests.entries import PROJECT, activity, denial, user_text

IMAGE = f"us-docker.pkg.dev/{PROJECT}/app/web"
SAME_PROJECT = denial(activity(user_text(IMAGE), images=(IMAGE,)))
CROSS_PROJECT = denial(activity())


def test_the_only_role_is_the_reader() -> None:
    assert ROLE == "roles/artifactregistry.reader"


def test_only_what_cloud_run_allowed_before_2025_is_granted_without_a_person() -> None:
    assert decide(SAME_PROJECT).outcome is Outcome.GRANT
    assert decide(CROSS_PROJECT).outcome is Outcome.ASK


def test_dry_run_asks_what_enforce_mode_would_grant() -> None:
    granted = decide(SAME_PROJECT)
    assert in_mode(granted, Mode.ENFORCE) == granted
    asked = in_mode(granted, Mode.DRY_RUN)
    assert (asked.outcome, asked.reasons) == (Outcome.ASK, (Reason.SAME_PROJECT, Reason.DRY_RUN))


@pytest.mark.parametrize(
    ("evidence", "outcome", "reason"),
    [
        ({"repository_exists": False}, Outcome.REFUSE, Reason.REPOSITORY_NOT_FOUND),
        ({"inside_organization": False}, Outcome.REFUSE, Reason.OTHER_ORGANIZATION),
        ({"inside_organization": None}, Outcome.REFUSE, Reason.ORGANIZATION_UNKNOWN),
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
    decision = decide(SAME_PROJECT, msgspec.structs.replace(ASSUMED, **evidence))
    assert (decision.outcome, decision.reasons) == (outcome, (reason,))


@pytest.mark.parametrize("doubt", [Reason.PUBLIC_MEMBER, Reason.DELETED_MEMBER, Reason.GROUP_MEMBER])
def test_a_member_that_never_gets_a_grant_is_refused(doubt: Reason) -> None:
    denied = msgspec.structs.replace(SAME_PROJECT, member=None, doubts=(doubt,))
    assert decide(denied).outcome is Outcome.REFUSE


@pytest.mark.parametrize("doubt", [Reason.IMAGE_MISMATCH, Reason.MEMBER_UNKNOWN, Reason.UNUSUAL_STATUS])
def test_any_doubt_goes_to_a_person(doubt: Reason) -> None:
    denied = msgspec.structs.replace(SAME_PROJECT, doubts=(doubt,))
    assert decide(denied).outcome is Outcome.ASK
    assert doubt in decide(denied).reasons
