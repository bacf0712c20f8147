"""Whether somebody took a member's reading away: by Google's own entries, and unknown where these do not tell."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediate.entries.access_changes import access_removed
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from tests.audit_entries import DEPLOYER, NUMBER, PROJECT, policy_set
from tests.forged import FORGED

SINCE = datetime(2026, 11, 1, 8, tzinfo=UTC)
APP = Repository(PROJECT, "asia-northeast1", "app")
CI = Member(f"serviceAccount:{DEPLOYER}")
ANA = Member("user:ana@example.com")
POOL = Member("principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/github/subject/s")
READER, WRITER, RUN = "roles/artifactregistry.reader", "roles/artifactregistry.writer", "roles/run.developer"
CUSTOM, OTHER, UNKNOWN = "projects/p/roles/puller", "projects/p/roles/other", "projects/p/roles/unknown"
HOLDS = {CUSTOM: True, OTHER: False}
SERVICE = "remediate@remediate-ops.iam.gserviceaccount.com"


def change(
    *deltas: tuple[str, str, str], on: str = str(APP), hours: int = 1, by: str = "owner@example.com"
) -> dict[str, Any]:
    return policy_set(on, *deltas, at=SINCE + timedelta(hours=hours), by=by)


def removed(*entries: Any, member: Member = CI) -> bool | None:
    """The answer to entries that are given newest first."""
    raws = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in entries]
    return access_removed(raws, APP, NUMBER, member, SINCE, HOLDS.get, [f"serviceaccount:{SERVICE}"])


def take(role: str = READER, member: Member | str = CI, **how: Any) -> dict[str, Any]:
    return change(("REMOVE", role, str(member)), **how)


def give(role: str = READER, member: Member | str = CI, **how: Any) -> dict[str, Any]:
    return change(("ADD", role, str(member)), **how)


PLACES = [
    str(APP), str(Repository(NUMBER, APP.location, APP.name)), f"//artifactregistry.googleapis.com/{APP}",
    f"projects/{PROJECT}", f"projects/{NUMBER}", f"//cloudresourcemanager.googleapis.com/projects/{PROJECT}",
]  # fmt: skip


@pytest.mark.parametrize("on", PLACES)
@pytest.mark.parametrize("role", [READER, WRITER, "roles/viewer", "roles/owner", CUSTOM, UNKNOWN])
@pytest.mark.parametrize("member", [CI, ANA, POOL], ids=["service account", "user", "federated"])
def test_a_removal_of_reading_is_one_wherever_and_whatever_the_role(on: str, role: str, member: Member) -> None:
    assert removed(take(role, member, on=on), member=member) is True


def test_nothing_that_happened_takes_nothing_away() -> None:
    assert removed() is False
    assert removed(take(RUN), take(OTHER), take(member=ANA), give()) is False
    assert removed(take(hours=-1)) is False
    assert removed(take(hours=0)) is True


@pytest.mark.parametrize("on", [
    f"projects/{PROJECT}/locations/asia-northeast1/repositories/app2", f"projects/{PROJECT}/locations/us/repositories/app",
    "projects/other/locations/asia-northeast1/repositories/app", "projects/other",
])  # fmt: skip
def test_another_resources_policy_is_not_this_ones(on: str) -> None:
    assert removed(take(on=on)) is False


def test_what_was_given_back_later_was_not_taken_away() -> None:
    assert removed(give(), take()) is False
    assert removed(take(), give()) is True  # newest first: it was given, and then taken away
    assert removed(give(WRITER, on=f"projects/{PROJECT}"), take()) is False
    assert removed(change(("REMOVE", READER, str(CI)), ("ADD", WRITER, str(CI)))) is False  # one role for another


@pytest.mark.parametrize("back", [
    give(RUN), give(OTHER), give(UNKNOWN), give(member=ANA), give(member="group:all@example.com"),
    give(by=SERVICE), give() | {"logName": f"projects/{PROJECT}/logs/x%2Fcloudaudit.googleapis.com%2Factivity"},
    give() | {"logName": f"projects/{PROJECT}/logs/mine"}, give() | {"logName": f"organizations/4/logs/{'x' * 9}"},
], ids=["another role", "a custom role that does not read", "an unknown role", "another member", "a group", "by the service itself",
        "a user's log", "another user's log", "no project's log"])  # fmt: skip
def test_what_gives_nothing_back(back: dict[str, Any]) -> None:
    assert removed(back, take()) is True


def test_a_conditional_or_failed_grant_gives_nothing_back_and_a_failed_removal_takes_nothing() -> None:
    conditional = give()
    conditional["protoPayload"]["serviceData"]["policyDelta"]["bindingDeltas"][0]["condition"] = {"expression": "false"}
    failed = give()
    failed["protoPayload"]["status"] = {"code": 7}
    assert removed(conditional, take()) is True
    assert removed(failed, take()) is True
    refused = take()
    refused["protoPayload"]["status"] = {"code": 10}
    assert removed(refused) is False
    refused["protoPayload"]["status"] = {}
    assert removed(refused) is True


def test_what_the_service_itself_did_is_on_its_own_record() -> None:
    assert removed(take(by=SERVICE)) is False
    assert removed(take(by="other@remediate-ops.iam.gserviceaccount.com")) is True


@pytest.mark.parametrize("everybody", ["allUsers", "allAuthenticatedUsers", "domain:example.com"])
def test_taken_from_everybody_is_taken_from_the_member(everybody: str) -> None:
    assert removed(take(member=everybody), member=ANA) is True
    assert removed(take(member="domain:example.org"), member=ANA) is False


@pytest.mark.parametrize("many", ["group:devs@example.com", "principalSet://x", "projectEditor:p", "projectViewer:p"])
def test_taken_from_many_is_unknown(many: str) -> None:
    assert removed(take(member=many)) is None
    assert removed(take(RUN, many)) is False
    assert removed(take(member=many), take()) is True
    assert removed(take(member=many), give()) is None
    assert removed(give(), take(member=many)) is False


def test_an_account_that_was_deleted_lost_its_access() -> None:
    assert removed(take(member=f"deleted:{CI}?uid=1234")) is True


def _without_delta(**payload: Any) -> dict[str, Any]:
    entry = take()
    del entry["protoPayload"]["serviceData"]
    entry["protoPayload"] |= payload
    return entry


@pytest.mark.parametrize("entry", [
    _without_delta(), _without_delta(serviceData={}), _without_delta(serviceData="x"), _without_delta(metadata={}),
    _without_delta(serviceData={"policyDelta": {"bindingDeltas": "x"}}),
    _without_delta(serviceData={"policyDelta": {"bindingDeltas": ["x"]}}),
    _without_delta(serviceData={"policyDelta": {"bindingDeltas": [{"action": "CHANGED", "role": READER, "member": str(CI)}]}}),
    _without_delta(serviceData={"policyDelta": {"bindingDeltas": [{"action": "REMOVE", "member": str(CI)}]}}),
    _without_delta(response={"bindings": [{"role": READER, "members": [str(ANA)]}]}),
    _without_delta(response={"bindings": [{"role": READER, "members": [str(CI)], "condition": {"expression": "false"}}]}),
    _without_delta(response={"bindings": [{"role": RUN, "members": [str(CI)]}]}),
    take() | {"timestamp": "yesterday"}, b"{]", b"[]", b'{"protoPayload":' * 50_000,
])  # fmt: skip
def test_what_cannot_be_compared_is_unknown(entry: Any) -> None:
    assert removed(entry) is None
    assert removed(entry, take()) is True
    assert removed(entry, give()) is None


def test_a_policy_shown_whole_and_a_delta_in_the_metadata_tell() -> None:
    assert removed(_without_delta(response={"bindings": [{"role": READER, "members": [str(CI)]}]}), take()) is False
    delta = {"policyDelta": {"bindingDeltas": [{"action": "REMOVE", "role": READER, "member": str(CI)}]}}
    assert removed(_without_delta(metadata=delta)) is True
    assert removed(_without_delta(serviceData={"policyDelta": {}})) is False  # an audit configuration, for instance


@given(
    st.lists(st.sampled_from([take(), give(), give(RUN), take(member="group:a@example.com")]), max_size=4), st.data()
)
def test_a_log_that_anybody_writes_changes_no_answer(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    forged = data.draw(st.sampled_from([take(), give(), give(CUSTOM), _without_delta()]))
    forged = forged | {"logName": data.draw(st.sampled_from(FORGED))}
    place = data.draw(st.integers(0, len(entries)))
    assert removed(*entries[:place], forged, *entries[place:]) == removed(*entries)
