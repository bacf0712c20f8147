"""The past of a member, as Cloud Logging and our own record tell it: proven, not searched; unknown, never no."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from remediate.cloud.interface import Cloud
from remediate.decisions.policy import Mode, Outcome
from remediate.decisions.policy_file import parse_policy
from remediate.decisions.variables import Evidence
from remediate.entries.denial import Denial
from remediate.errors import TerminalFault, TransientFault
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from remediate.service.history import History, Past
from remediate.times import to_rfc3339
from tests.audit_entries import (
    DEPLOYER,
    NUMBER,
    PROJECT,
    activity,
    denial,
    deployed,
    policy_set,
    system_event,
    user_text,
)
from tests.fakes import MemoryLogs, MemoryRegistry, MemoryRoles, projects
from tests.service.helpers import same, same_entry
from tests.service.world import NOON, SAME_IMAGE, SAME_REPOSITORY, World

APP = Repository(PROJECT, "asia-northeast1", "app")
CI = Member(f"serviceAccount:{DEPLOYER}")
READER = "roles/artifactregistry.reader"
DENIED = NOON.replace(hour=8, microsecond=123456)
DAY = timedelta(days=1)
POOL = "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/subject/repo"


def deploy(days: float = 1, member: Member = CI, **how: Any) -> dict[str, Any]:
    return deployed(member, PROJECT, APP, DENIED - days * DAY, **how)


def change(action: str, days: float, by: str = "owner@example.com") -> dict[str, Any]:
    return policy_set(SAME_REPOSITORY, (action, READER, str(CI)), at=DENIED - days * DAY, by=by)


def history(logs: MemoryLogs | None, **how: Any) -> History:
    return History(Cloud(MemoryRegistry(), projects(), MemoryRoles(), logs), lambda: NOON, **how)


def past(*log: dict[str, Any], denied: Denial | None = None, taken_away: str | None = None) -> Past:
    return history(MemoryLogs(log=list(log))).past(denied or same(), taken_away)


def test_a_proven_deploy_and_nothing_taken_away() -> None:
    assert past(deploy()) == Past(True, False)
    assert past() == Past(False, False)


def test_only_the_400_days_before_the_denial_count() -> None:
    assert past(deploy(399.9)) == Past(True, False)
    assert past(deploy(400.1)) == Past(False, False)
    assert past(deploy(-0.01)) == Past(False, False)


def test_what_was_taken_away_since_the_newest_deploy() -> None:
    assert past(deploy(5), change("REMOVE", 3)) == Past(True, True)
    assert past(deploy(5), deploy(2, created=True), change("REMOVE", 3)) == Past(True, False)
    assert past(deploy(5), change("REMOVE", 3), change("ADD", 2)) == Past(True, False)
    assert past(change("REMOVE", 3)) == Past(False, True)
    assert past(deploy(5), change("REMOVE", -0.01)) == Past(True, True)  # later than the denial is not too late


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_an_update_that_may_change_nothing_hides_no_removal(api: str) -> None:
    """Such an update makes no revision, so Cloud Run reads no image: whoever lost access can still make it."""
    assert past(deploy(9), change("REMOVE", 7), deploy(2, api=api)) == Past(True, True)
    unnamed = deploy(2, api=api)
    unnamed["protoPayload"]["response"] = {
        "status": {"latestCreatedRevisionName": "web-1"},
        "latestCreatedRevision": "web-1",
    }
    assert past(deploy(9), change("REMOVE", 7), unnamed) == Past(True, True)
    created = deploy(2, api=api)
    created["protoPayload"]["methodName"] = f"google.cloud.run.{api}.Services.CreateService"
    assert past(deploy(9), change("REMOVE", 7), created) == Past(True, False)


def test_our_own_record_tells_what_was_revoked_or_removed() -> None:
    assert past(deploy(5), taken_away=to_rfc3339(DENIED - 3 * DAY)) == Past(True, True)
    assert past(deploy(5), taken_away=to_rfc3339(DENIED - 6 * DAY)) == Past(True, True)
    assert past(deploy(5, created=True), taken_away=to_rfc3339(DENIED - 6 * DAY)) == Past(True, False)
    own = history(
        MemoryLogs(log=[deploy(5), change("REMOVE", 3, by="r@x.iam.gserviceaccount.com")]),
        own=("serviceaccount:r@x.iam.gserviceaccount.com",),
    )
    assert own.past(same(), None) == Past(True, False)  # a grant of ours that expired


def test_federated_members_are_proven_by_their_subject() -> None:
    denied = denial(activity(user_text(SAME_IMAGE), images=(SAME_IMAGE,), email=None, subject=POOL))
    assert past(deploy(member=Member(POOL)), denied=denied) == Past(True, False)
    assert past(deploy(), denied=denied) == Past(False, False)


def test_a_service_agent_and_a_project_unknown_have_no_past() -> None:
    assert past(deploy(), denied=denial(system_event())) == Past()
    nowhere = denial(
        activity(user_text("us-docker.pkg.dev/nobody-s/app/web"), images=("us-docker.pkg.dev/nobody-s/app/web",))
    )
    assert past(deploy(), denied=nowhere) == Past()
    assert history(None).past(same(), None) == Past()


def test_a_v2_operation_is_joined_with_its_end() -> None:
    first = deploy(2, api="v2") | {"operation": {"id": "op-1", "first": True}}
    last = deploy(2, api="v2") | {"operation": {"id": "op-1", "last": True}}
    last["protoPayload"] = {k: v for k, v in last["protoPayload"].items() if k not in ("request", "authorizationInfo")}
    logs = MemoryLogs(log=[first, last])
    assert history(logs).past(same(), None) == Past(True, False)
    assert logs.reads == 3
    assert past(first) == Past(False, False)
    # the newest counts, whichever way it was proven
    assert past(first, last, deploy(5, created=True), change("REMOVE", 3)) == Past(True, True)
    for each in (first, last):
        each["protoPayload"]["methodName"] = "google.cloud.run.v2.Services.CreateService"
    assert past(first, last, deploy(5), change("REMOVE", 3)) == Past(True, False)
    assert past(first, deploy(5), change("REMOVE", 3)) == Past(True, True)


def test_deploys_are_remembered_for_ten_minutes_and_removals_never() -> None:
    now = [NOON]
    logs = MemoryLogs(log=[deploy(5)])
    asked = History(Cloud(MemoryRegistry(), projects(), MemoryRoles(), logs), lambda: now[0])
    assert asked.past(same(), None) == Past(True, False)
    assert logs.reads == 2
    logs.log.append(change("REMOVE", 3))
    assert asked.past(same(), None) == Past(True, True)
    assert logs.reads == 3
    earlier = denial(same_entry() | {"timestamp": to_rfc3339(DENIED - 10 * DAY)})
    assert asked.past(earlier, None).previously_deployed is False  # what is remembered lies after that denial
    now[0] += timedelta(minutes=10)
    logs.log.clear()
    assert asked.past(same(), None) == Past(False, False)


class Unreadable(MemoryLogs):
    """A log that gives so many entries, and then a fault."""

    fault: Exception = TerminalFault("403")

    def deploys(self, *args: Any) -> Iterator[bytes]:
        yield from super().deploys(*args)
        raise self.fault

    def policy_changes(self, *args: Any) -> Iterator[bytes]:
        yield from super().policy_changes(*args)
        raise self.fault


def test_what_cannot_be_read_is_unknown_and_never_no() -> None:
    assert history(Unreadable()).past(same(), None) == Past(None, None)
    assert history(Unreadable()).past(same(), to_rfc3339(DENIED - DAY)) == Past(None, True)
    found = history(Unreadable(log=[deploy(5)])).past(same(), None)
    assert found == Past(True, None)  # it was found before the search was given up
    assert history(Unreadable(log=[deploy(5), change("REMOVE", 3)])).past(same(), None) == Past(True, True)


def test_a_spent_quota_is_a_passing_fault_and_remembered_as_nothing() -> None:
    logs = Unreadable()
    logs.fault = TransientFault("50 log look-ups were made within a minute")
    asked = history(logs)
    for _ in range(2):
        with pytest.raises(TransientFault):
            asked.past(same(), None)


# In decisions

RULES = parse_policy(
    "rules: [{name: known, when: evidence.previously_deployed && !evidence.access_removed && evidence.same_project, then: grant}]", "p"
)  # fmt: skip


def handled(world: World, insert_id: str = "1", mode: Mode = Mode.ENFORCE, **how: Any) -> Outcome:
    return world.instance(mode, rules=lambda: RULES, **how).handle(same(insert_id)).decision.outcome


def test_a_rule_grants_what_was_proven_and_asks_once_it_was_taken_away(world: World) -> None:
    assert handled(world, "1") is Outcome.ASK
    world.logs.log.append(deploy(5))
    world.logs.log.append(change("REMOVE", 3))
    assert handled(world, "2") is Outcome.ASK
    world.logs.log.pop()
    assert handled(world, "3") is Outcome.GRANT
    assert world.registry.readers(SAME_REPOSITORY) == [str(CI)]


def test_a_grant_that_was_revoked_is_asked_long_after_it_is_forgotten(world: World) -> None:
    world.logs.log.append(deploy(5))
    service = world.instance(Mode.ENFORCE, rules=lambda: RULES)
    granted = service.handle(same("1")).remediation
    assert granted
    service.revoke(granted.id, actor="lead@example.com", note="left the team")
    world.now += 100 * DAY
    assert handled(world, "2") is Outcome.ASK
    again = deployed(CI, PROJECT, APP, world.now - DAY, created=True)  # somebody let it read again, and it deployed
    world.logs.log.append(again)
    late = denial(same_entry("3") | {"timestamp": to_rfc3339(world.now)})
    world.logs.written = lambda insert_id: same_entry(insert_id) | {"timestamp": to_rfc3339(world.now)}
    assert world.instance(Mode.ENFORCE, rules=lambda: RULES).handle(late).decision.outcome is Outcome.GRANT


def test_a_spent_quota_has_the_event_come_again_and_a_page_say_unknown(world: World) -> None:
    record = world.instance().handle(same()).remediation
    assert record
    logs = Unreadable()
    logs.fault = TransientFault("50 log look-ups were made within a minute")
    with pytest.raises(TransientFault):
        handled(world, "2", logs=logs)
    seen = world.instance(logs=logs).evidence(record.id)
    assert (seen.previously_deployed, seen.repository_exists) == (None, True)


def test_a_log_that_may_not_be_read_is_asked_about(world: World) -> None:
    assert handled(world, logs=Unreadable(same_entry)) is Outcome.ASK


def test_the_log_is_asked_only_where_the_decision_hinges_on_it(world: World) -> None:
    cross = denial(activity(insert_id="1"))
    world.instance(Mode.ENFORCE, rules=lambda: RULES).handle(cross)
    assert world.logs.reads == 0
    handled(world, mode=Mode.DRY_RUN)
    assert world.logs.reads == 2


def test_a_reviewer_sees_what_no_rule_looks_at(world: World) -> None:
    record = world.instance().handle(same()).remediation
    assert record
    world.logs.log += [deploy(5), change("REMOVE", 3)]
    seen: Evidence = world.instance().evidence(record.id)
    assert (seen.previously_deployed, seen.access_removed) == (True, True)


def test_numbers_and_ids_are_one_project() -> None:
    numbered = f"asia-northeast1-docker.pkg.dev/{NUMBER}/app/web:v1"
    entry = deploy()
    entry["protoPayload"]["request"]["service"]["spec"]["template"]["spec"]["containers"][0]["image"] = numbered
    assert past(entry) == Past(True, False)
