"""What was approved some time ago: carried out only where it still holds, on the terms and by the people it had."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from remediate.decisions.policy import BuiltIn, Mode, Outcome
from remediate.decisions.policy_file import parse_policy
from remediate.errors import Refused, TransientFault
from remediate.reasons import Reason
from remediate.records.digests import content_digest
from remediate.records.modes import EVERYWHERE
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.records.transitions import differs_materially
from tests.audit_entries import (
    DEPLOYER,
    LOGGED,
    OPERATION,
    REPOSITORY,
    activity,
    call_entry,
    denial,
    last_entry,
    system_event,
    user_text,
)
from tests.fakes import MemoryLogs
from tests.service.helpers import (
    ANA,
    ASKS,
    BO,
    DAY,
    MEMBER,
    Crash,
    Registry,
    approved_by_a_rule,
    asks,
    crash,
    cross,
    impersonated,
    proposed,
    same,
    same_entry,
    state,
)
from tests.service.world import REVIEWER, SAME_REPOSITORY, World

HOUR = timedelta(hours=1)
TWO = parse_policy("rules:\n- {name: two, when: true, then: ask, approvals: 2}\n", "policy.yaml")


def unavailable(*_: Any, **__: Any) -> None:
    raise TransientFault("setIamPolicy: 503")


def stored(world: World, record: Remediation) -> Remediation:
    found = world.ledger.get(record.id)
    assert found
    return found


def test_a_new_denial_does_not_write_what_a_rule_approved_once_the_rule_asks(world: World) -> None:
    record = approved_by_a_rule(world)
    handled = world.instance(Mode.ENFORCE, rules=lambda: ASKS).handle(same("2"))
    assert (handled.decision.outcome, handled.written, world.registry.writes) == (Outcome.ASK, False, 0)
    assert state(world, record.id) is State.PROPOSED
    world.check_trail()


def test_a_new_denial_does_not_write_what_was_approved_until_an_hour_ago(world: World) -> None:
    record = proposed(world)
    with pytest.raises(Crash):
        world.instance(registry=Registry(world, add_reader=crash)).approve(record.id, actor=REVIEWER, max_duration=HOUR)
    world.now += 2 * HOUR
    world.instance(Mode.ENFORCE).handle(cross("2"))
    assert (state(world, record.id), world.registry.writes) == (State.LAPSED, 0)


def test_a_denial_in_enforce_mode_does_not_write_what_waits_in_a_project_in_dry_run(world: World) -> None:
    record = approved_by_a_rule(world)
    world.instance().switch("projects/shop-frontend", Mode.DRY_RUN, actor=REVIEWER, note="stop")
    other = activity(insert_id="2", project="platform-images", number="210987654321", email=DEPLOYER)
    other["protoPayload"]["request"] = same_entry()["protoPayload"]["request"]
    other["protoPayload"]["status"] = same_entry()["protoPayload"]["status"]
    world.instance(Mode.ENFORCE).handle(denial(other))
    assert (state(world, record.id), world.registry.writes) == (State.APPROVED, 0)
    assert len(stored(world, record).deploys) == 2


def test_a_grant_of_the_built_in_rule_survives_a_passing_fault(world: World) -> None:
    world.logs.deployed.add(MEMBER)
    built_in = world.instance(Mode.ENFORCE, rules=lambda: BuiltIn(), registry=Registry(world, add_reader=unavailable))
    with pytest.raises(TransientFault):
        built_in.handle(same("1"))
    again = world.instance(Mode.ENFORCE, rules=lambda: BuiltIn()).handle(same("1"))
    assert (again.written, world.registry.readers(SAME_REPOSITORY)) == (True, [MEMBER])


def test_a_person_who_comes_after_the_write_changes_nothing_of_what_was_approved(world: World) -> None:
    wants_two = world.instance(rules=lambda: TWO)
    record = wants_two.handle(cross("1")).remediation
    assert record
    wants_two.approve(record.id, actor=ANA, max_duration=HOUR)

    def written_and_lost(*args: Any, **kwargs: Any) -> None:
        world.registry.add_reader(*args, **kwargs)
        raise Crash

    lost = world.instance(rules=lambda: TWO, registry=Registry(world, add_reader=written_and_lost))
    with pytest.raises(Crash):
        lost.approve(record.id, actor=BO, max_duration=HOUR)
    approved = stored(world, record)
    done = wants_two.approve(record.id, actor=REVIEWER).remediation
    assert (done.state, done.approver, done.expires) == (State.GRANTED, approved.approver, approved.expires)
    assert done.expires is not None
    world.check_trail()


def test_a_deploy_during_a_persons_grant_for_a_day_earns_no_grant_by_rule(world: World) -> None:
    rules = lambda: BuiltIn()  # noqa: E731
    record = world.instance(Mode.ENFORCE, rules=rules).handle(same("1")).remediation
    assert record
    assert record.state is State.PROPOSED
    world.instance(rules=rules).approve(record.id, actor=REVIEWER, max_duration=DAY)
    world.now += 2 * DAY
    list(world.instance(rules=rules).sweep())
    assert state(world, record.id) is State.EXPIRED
    world.logs.deployed.add(MEMBER)  # a day before the next denial, and so while it was granted
    for which in ("2", "3"):
        entry = same_entry(which) | {"timestamp": (world.now - HOUR).isoformat()}
        handled = world.instance(Mode.ENFORCE, rules=rules).handle(denial(entry))
        assert (handled.decision.outcome, handled.written) == (Outcome.ASK, False)
        assert Reason.ACCESS_REMOVED in handled.decision.reasons


@pytest.mark.parametrize("people", [(ANA,), (ANA, "zoe@example.com")])
def test_a_sweep_knows_everybody_behind_a_call_as_well_as_an_event_does(world: World, people: tuple[str, ...]) -> None:
    entry = impersonated(same_entry("1"), *people)
    with pytest.raises(Crash):
        world.instance(Mode.ENFORCE, registry=Registry(world, add_reader=crash)).handle(denial(entry))
    [record] = world.records().values()
    assert record.deployers[-1] == MEMBER
    asks(world, ANA, Mode.DRY_RUN)
    asks(world, ANA, None)
    asks(world, BO, None)
    assert world.ledger.modes().switches.get(EVERYWHERE) is None
    list(world.instance(Mode.ENFORCE).sweep())
    assert (state(world, record.id), world.registry.writes) == (State.APPROVED, 0)


def test_denials_of_two_deploys_in_turn_propose_it_anew_once_a_kind(world: World) -> None:
    record = proposed(world)
    other = {"project": "platform-images", "number": "210987654321", "email": DEPLOYER}
    for which in range(20):
        more = other if which % 2 else {}
        world.instance().handle(denial(activity(insert_id=f"turn-{which}", **more)))
    seen = stored(world, record)
    assert {Reason.CROSS_PROJECT, Reason.SAME_PROJECT} <= set(seen.reasons)
    assert (seen.denials, seen.trail) == (21, 2)
    assert world.instance().approve(record.id, actor=REVIEWER, content=content_digest(seen)).written


def test_a_reason_that_is_gone_is_no_other_decision_and_a_new_one_is(world: World) -> None:
    record = proposed(world)
    decision = world.instance().handle(cross("2")).decision
    assert not differs_materially(record, decision)
    more = world.instance(opt_in_tag="123/remediate/on").handle(cross("3")).decision
    assert differs_materially(record, more)
    assert not differs_materially(stored(world, record), decision)


def test_who_impersonated_the_deployer_approves_no_sixth_denial_either(world: World) -> None:
    call = impersonated(call_entry(OPERATION, api="v2", insert_id="call"), ANA)
    world.logs = MemoryLogs(LOGGED.get, operations={OPERATION: [call]})
    for which in range(6):
        entry = last_entry(user_text(), OPERATION, code=7, insert_id=f"last-{which}")
        record = world.instance().handle(denial(entry)).remediation
        assert record
        assert f"user:{ANA}" in record.deployers
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(record.id, actor=ANA)


@pytest.mark.parametrize("note", ["serving.knative.dev/creator", "serving.knative.dev/lastModifier"])
def test_a_person_noted_by_a_workforce_identity_may_not_approve_their_own_deploy(world: World, note: str) -> None:
    staff = f"principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/{ANA}"
    record = world.instance().handle(denial(system_event(annotations={note: staff}))).remediation
    assert record
    assert f"user:{ANA}" in record.deployers
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(record.id, actor=ANA)
    assert record.repository == REPOSITORY
