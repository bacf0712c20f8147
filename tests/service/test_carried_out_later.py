"""What was approved some time ago: carried out only where it still holds, on the terms and by the people it had."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from remediate.cloud.interface import RepositoryDescription
from remediate.decisions.policy import BuiltIn, Mode, Outcome
from remediate.decisions.policy_file import parse_policy
from remediate.errors import Refused, TransientFault
from remediate.reasons import Reason
from remediate.records.digests import content_digest
from remediate.records.modes import EVERYWHERE
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.records.transitions import differs_materially
from remediate.service.remediator import Remediator
from remediate.service.reviewers import Reviewers
from tests.audit_entries import (
    DEPLOYER,
    LOGGED,
    OPERATION,
    PROJECT,
    REPOSITORY,
    activity,
    agent_text,
    call_entry,
    denial,
    deployed,
    last_entry,
    system_event,
    understood,
    user_text,
)
from tests.fakes import MemoryLogs
from tests.policies import WIDER
from tests.service.helpers import (
    ANA,
    ASKS,
    BO,
    DAY,
    HOUR,
    MEMBER,
    Crash,
    Registry,
    approved_by_a_rule,
    asks,
    crash,
    cross,
    impersonated,
    of_rules,
    proposed,
    same,
    same_entry,
    state,
    stored,
    unavailable,
)
from tests.service.world import REVIEWER, SAME_IMAGE, SAME_REPOSITORY, World

TWO = parse_policy("rules:\n- {name: two, when: true, then: ask, approvals: 2}\n", "policy.yaml")


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
    assert len(stored(world, record).tally.deploys) == 2


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
    assert (done.state, done.lifecycle.approver, done.lifecycle.expires) == (
        State.GRANTED,
        approved.lifecycle.approver,
        approved.lifecycle.expires,
    )
    assert done.lifecycle.expires is not None
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
    assert record.names.deployers[-1] == MEMBER
    asks(world, ANA, Mode.DRY_RUN)
    asks(world, ANA, None)
    asks(world, BO, None)
    assert world.ledger.modes().switches.get(EVERYWHERE) is None
    list(world.instance(Mode.ENFORCE).sweep())
    assert (state(world, record.id), world.registry.writes) == (State.APPROVED, 0)


def test_denials_of_two_deploys_in_turn_propose_it_anew_once_a_kind(world: World) -> None:
    record = proposed(world)
    other = partial(activity, project="platform-images", number="210987654321", email=DEPLOYER)
    for which in range(20):
        deploy = other if which % 2 else activity
        world.instance().handle(denial(deploy(insert_id=f"turn-{which}")))
    seen = stored(world, record)
    assert {Reason.CROSS_PROJECT, Reason.SAME_PROJECT} <= set(seen.reasons)
    assert (seen.tally.denials, seen.storage.trail) == (21, 2)
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
    denied = set()
    for which in range(6):
        entry = last_entry(user_text(), OPERATION, code=7, insert_id=f"last-{which}")
        record = world.instance().handle(denial(entry)).remediation
        assert record
        assert f"user:{ANA}" in record.names.deployers
        denied.add(record.id)
    [ident] = denied
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(ident, actor=ANA)


@pytest.mark.parametrize("note", ["serving.knative.dev/creator", "serving.knative.dev/lastModifier"])
def test_a_person_noted_by_a_workforce_identity_may_not_approve_their_own_deploy(world: World, note: str) -> None:
    staff = f"principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/{ANA}"
    record = world.instance().handle(denial(system_event(annotations={note: staff}))).remediation
    assert record
    assert f"user:{ANA}" in record.names.deployers
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(record.id, actor=ANA)
    assert record.repository == REPOSITORY


def approved_before_the_write(world: World, actor: str = REVIEWER, rules: Any = None) -> Remediation:
    """A proposal that a person approved; the process ended before the write."""
    how = {"rules": rules} if rules else {}
    record = world.instance(**how).handle(denial(activity(agent_text(), insert_id="1"))).remediation
    assert record
    with pytest.raises(Crash):
        world.instance(registry=Registry(world, add_reader=crash), **how).approve(record.id, actor=actor)
    return stored(world, record)


@pytest.mark.parametrize("forged", [True, False])
def test_an_event_that_the_log_does_not_have_completes_no_approval(world: World, forged: bool) -> None:
    elsewhere = activity(user_text(SAME_IMAGE), images=(), insert_id="1")  # its deploy names no image
    with pytest.raises(Crash):
        world.instance(Mode.ENFORCE, registry=Registry(world, add_reader=crash)).handle(denial(elsewhere))
    world.logs.deployed.add(MEMBER)
    built_in = world.instance(Mode.ENFORCE, rules=lambda: BuiltIn())
    if forged:
        handled = built_in.handle(understood(same_entry("not in the log")))
        assert (handled.decision.outcome, handled.written) == (Outcome.ASK, False)
    list(built_in.sweep())
    [record] = world.records().values()
    assert (record.state, world.registry.writes) == (State.PROPOSED, 0)


@pytest.mark.parametrize("rules", [
    lambda: BuiltIn(),
    of_rules("{name: same project, when: evidence.same_project, then: grant, expires_after: 1h}"),
    of_rules("{name: another, when: evidence.same_project, then: grant}"),
])  # fmt: skip
@pytest.mark.parametrize("by_event", [True, False])
def test_what_a_rule_approved_is_not_written_on_terms_that_no_rule_has_any_more(
    world: World, rules: Any, by_event: bool
) -> None:
    record = approved_by_a_rule(world)
    world.logs.deployed.add(MEMBER)
    later = world.instance(Mode.ENFORCE, rules=rules)
    if by_event:
        later.handle(same("2"))
    list(later.sweep())
    assert (state(world, record.id), world.registry.writes) == (State.PROPOSED, 0)
    decision = later.handle(same("3")).decision
    granted = stored(world, record)
    assert (granted.state, granted.terms.rule, granted.terms.max_duration) == (
        State.GRANTED,
        decision.rule,
        decision.expires_after,
    )
    world.check_trail()


@pytest.mark.parametrize("how", ["sweep", "another reviewer", "the same reviewer"])
@pytest.mark.parametrize("what", ["terms", "reasons"])
def test_a_persons_approval_is_not_carried_out_with_terms_or_reasons_that_nobody_saw(
    world: World, how: str, what: str
) -> None:
    record = approved_before_the_write(world)
    rules = of_rules("{name: hour, when: true, then: ask, expires_after: 1h}")
    if what == "reasons":
        rules = lambda: WIDER  # noqa: E731
        world.registry.kinds[REPOSITORY] = RepositoryDescription("DOCKER", "VIRTUAL_REPOSITORY")
    later = world.instance(Mode.ENFORCE, rules=rules)
    if how == "sweep":
        list(later.sweep())
    else:
        actor = ANA if how == "another reviewer" else REVIEWER
        with suppress(Refused):
            later.approve(record.id, actor=actor, content=content_digest(record))
    assert (state(world, record.id), world.registry.writes) == (State.PROPOSED, 0)
    assert later.approve(record.id, actor=ANA, content=content_digest(stored(world, record))).written
    world.check_trail()


@pytest.mark.parametrize("approvals", [1, 2])
def test_an_approver_who_deploys_it_later_does_not_carry_out_their_own_word(world: World, approvals: int) -> None:
    rules = (lambda: TWO) if approvals == 2 else None
    how: dict[str, Any] = {"rules": rules} if rules else {}
    if approvals == 2:
        first = world.instance(**how).handle(denial(activity(agent_text(), insert_id="1"))).remediation
        assert first
        world.instance(**how).approve(first.id, actor=ANA)
        record = approved_before_the_write(world, BO, rules)
    else:
        record = approved_before_the_write(world, ANA)
    own = denial(activity(agent_text(), insert_id="2", email=ANA))
    assert not world.instance(Mode.ENFORCE, **how).handle(own).written
    assert (state(world, record.id), world.registry.writes) == (State.PROPOSED, 0)


def test_the_word_of_somebody_who_reviews_no_more_is_not_carried_out(world: World) -> None:
    record = approved_before_the_write(world, ANA)
    list(world.instance(Mode.ENFORCE, reviewers=Reviewers(allowed=(f"user:{BO}",))).sweep())
    assert (state(world, record.id), world.registry.writes) == (State.PROPOSED, 0)


def test_a_deploy_while_iam_still_lets_a_removed_member_read_earns_no_grant_by_rule(world: World) -> None:
    def built_in() -> Remediator:
        return world.instance(Mode.ENFORCE, rules=BuiltIn)

    record = built_in().handle(same("1")).remediation
    assert record
    built_in().approve(record.id, actor=REVIEWER, max_duration=DAY)
    world.now += DAY + timedelta(minutes=1)
    list(built_in().sweep())
    assert state(world, record.id) is State.EXPIRED
    grant, minute = record.grant, timedelta(minutes=1)
    world.logs.log.append(deployed(grant.member, PROJECT, grant.repository, world.now + 3 * minute))
    world.now += 20 * minute
    entry = same_entry("9") | {"timestamp": (world.now - 3 * minute).isoformat()}
    handled = built_in().handle(denial(entry))
    assert (handled.decision.outcome, handled.written) == (Outcome.ASK, False)
    assert Reason.ACCESS_REMOVED in handled.decision.reasons
