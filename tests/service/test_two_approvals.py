"""Two different people approve where a rule wants it, or where the log does not say who deployed."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediate.decisions.policy import Mode
from remediate.errors import Refused, Stale
from remediate.iam.member import Member
from remediate.reasons import Reason
from remediate.records.approval_count import Approval, approvals_text, people, shortest, valid
from remediate.records.digests import content_digest
from remediate.records.lifecycle import transition
from remediate.records.remediation import Remediation
from remediate.records.results import Limits
from remediate.records.states import State
from remediate.records.trail_verification import broken_trail
from remediate.service.remediator import Remediator
from tests.audit_entries import REPOSITORY, denial, system_event
from tests.records.changed import with_fields
from tests.service.helpers import DAY, Crash, Crashing, Registry, Wants, crash, cross, proposed, state
from tests.service.world import REVIEWER, World

ANA, BO, EVA = "ana@example.com", "bo@example.org", "eva@example.com"
DECLARE = Limits(one_may_declare=True)


def careful(world: World, approvals: int = 2, **more: Any) -> Remediator:
    """The service with a rule that wants several approvals."""
    rules = Wants(approvals, **more)
    return world.instance(rules=lambda: rules)


def asked(world: World, approvals: int = 2, insert_id: str = "1") -> Remediation:
    record = careful(world, approvals).handle(cross(insert_id)).remediation
    assert record
    return record


def unknown(world: World) -> Remediation:
    """A proposal of which the log does not say who deployed."""
    record = world.instance().handle(denial(system_event() | {"insertId": "event"})).remediation
    assert record
    assert Reason.DEPLOYER_UNKNOWN in record.reasons
    return record


def test_a_rule_that_wants_two_approvals_gets_two(world: World) -> None:
    record = asked(world)
    assert record.terms.approvals_needed == 2
    first = careful(world).approve(record.id, actor=ANA, note="mine to give", content=content_digest(record))
    assert (first.remediation.state, first.written, world.registry.writes) == (State.PROPOSED, False, 0)
    assert (
        approvals_text(first.remediation.lifecycle.approvals)
        == "1 of 2 approvals: ana@example.com approved; a second reviewer must approve"
    )
    second = careful(world).approve(record.id, actor=BO, content=content_digest(record))
    assert second.written
    assert (second.remediation.lifecycle.approver, approvals_text(second.remediation.lifecycle.approvals)) == (
        f"user:{BO}",
        "",
    )
    steps = list(world.ledger.trail(record.id))
    assert [(step.before, step.after) for step in steps[1:3]] == [
        (State.PROPOSED, State.PROPOSED),
        (State.PROPOSED, State.APPROVED),
    ]
    assert [(step.actor, step.approval) for step in steps[1:3]] == [(f"user:{ANA}", "1 of 2"), (f"user:{BO}", "2 of 2")]
    assert steps[1].content == steps[2].content == content_digest(record)
    assert broken_trail(record.id, second.remediation, steps) is None
    world.check_trail()


@pytest.mark.parametrize("again", [ANA, ANA.upper().replace("EXAMPLE.COM", "example.com")])
def test_one_person_counts_once_in_any_spelling(world: World, again: str) -> None:
    record = asked(world)
    careful(world).approve(record.id, actor=ANA)
    before = world.ledger.get(record.id)
    done = careful(world).approve(record.id, actor=again)
    assert (done.remediation.state, done.written) == (State.PROPOSED, False)
    if again == ANA:
        assert world.ledger.get(record.id) == before  # the same word again leaves nothing
    assert people(done.remediation.lifecycle.approvals) == 1


def test_three_may_be_needed(world: World) -> None:
    record = asked(world, 3)
    for actor in (ANA, BO):
        done = careful(world, 3).approve(record.id, actor=actor)
        assert done.remediation.state is State.PROPOSED
    assert (
        approvals_text(done.remediation.lifecycle.approvals)
        == "2 of 3 approvals: ana@example.com and bo@example.org approved; 1 more must approve"
    )
    assert careful(world, 3).approve(record.id, actor=EVA).written


@pytest.mark.parametrize(("one", "other"), [(1, 30), (30, 1), (1, None), (None, 1)])
def test_the_shorter_of_both_durations_counts(world: World, one: int | None, other: int | None) -> None:
    record = asked(world)
    for actor, days in ((ANA, one), (BO, other)):
        done = careful(world).approve(record.id, actor=actor, max_duration=days * DAY if days else None)
    assert done.remediation.lifecycle.expires
    assert datetime.fromisoformat(done.remediation.lifecycle.expires) == world.now + DAY


def test_a_changed_content_voids_the_first_approval(world: World) -> None:
    record = asked(world)
    careful(world).approve(record.id, actor=ANA)
    deployed = replace(cross("2"), deploy=replace(cross("2").deploy, project="shop-backend", number=None))
    world.logs.written = lambda _: None
    careful(world).handle(deployed)
    changed = world.ledger.get(record.id)
    assert changed
    assert content_digest(changed) != content_digest(record)
    with pytest.raises(Stale):
        careful(world).approve(record.id, actor=BO, content=content_digest(record))
    assert valid(changed.lifecycle.approvals, content_digest(changed), f"user:{BO}", lambda _: True) == ()


def test_a_first_approval_of_another_content_does_not_count() -> None:
    one = Approval(f"user:{ANA}", "2026-01-01T00:00:00Z", "0" * 12, 2)
    assert valid([one], "0" * 12, f"user:{BO}", lambda _: True) == (one,)
    assert valid([one], "1" * 12, f"user:{BO}", lambda _: True) == ()
    assert valid([one], "0" * 12, "user:ANA@example.com", lambda _: True) == ()
    assert valid([one], "0" * 12, f"user:{BO}", lambda _: False) == ()


def test_a_rejection_in_between_ends_it(world: World) -> None:
    record = asked(world)
    careful(world).approve(record.id, actor=ANA)
    careful(world).reject(record.id, actor=EVA, note="no")
    with pytest.raises(Refused, match=r"was rejected by .*; it cannot be approved"):
        careful(world).approve(record.id, actor=BO)
    stored = world.ledger.get(record.id)
    assert stored
    assert stored.lifecycle.approvals == ()


def test_a_first_approver_who_turns_out_to_be_the_deployer_does_not_count(world: World) -> None:
    record = asked(world)
    careful(world).approve(record.id, actor=ANA)
    careful(world).handle(replace(cross("2"), deployer=None))
    stored = world.ledger.get(record.id)
    assert stored
    world.ledger.commit(with_fields(stored, deployers=(*stored.names.deployers, f"user:{ANA}")))
    assert careful(world).approve(record.id, actor=BO).remediation.state is State.PROPOSED
    assert world.registry.writes == 0


def test_a_rule_that_wants_two_since_it_was_proposed_proposes_it_anew(world: World) -> None:
    record = proposed(world)
    with pytest.raises(Refused, match="changed since it was proposed"):
        careful(world).approve(record.id, actor=ANA)
    assert careful(world).approve(record.id, actor=ANA).remediation.state is State.PROPOSED
    assert careful(world).approve(record.id, actor=BO).written


def test_an_approval_that_is_carried_out_later_still_needs_its_two(world: World) -> None:
    record = proposed(world)
    with pytest.raises(Crash):
        world.instance(registry=Registry(world, add_reader=crash)).approve(record.id, actor=ANA)
    list(careful(world).sweep())
    assert (state(world, record.id), world.registry.writes) == (State.PROPOSED, 0)
    careful(world).approve(record.id, actor=ANA)
    rules = Wants(2)
    with pytest.raises(Crash):
        world.instance(registry=Registry(world, add_reader=crash), rules=lambda: rules).approve(record.id, actor=BO)
    assert state(world, record.id) is State.APPROVED
    list(careful(world).sweep())
    assert (state(world, record.id), world.registry.writes) == (State.GRANTED, 1)
    world.check_trail()


def test_two_who_approved_are_not_enough_once_the_rule_leaves_it_to_others(world: World) -> None:
    record = asked(world)
    careful(world).approve(record.id, actor=ANA)
    rules = Wants(2)
    with pytest.raises(Crash):
        world.instance(registry=Registry(world, add_reader=crash), rules=lambda: rules).approve(record.id, actor=BO)
    list(careful(world, reviewers=(f"user:{BO}",)).sweep())
    assert (state(world, record.id), world.registry.writes) == (State.PROPOSED, 0)


def test_what_failed_needs_both_again(world: World) -> None:
    record = asked(world)
    careful(world).approve(record.id, actor=ANA)
    world.registry.refuse_writes = True
    assert careful(world).approve(record.id, actor=BO).remediation.state is State.FAILED
    world.registry.refuse_writes = False
    assert careful(world).approve(record.id, actor=BO).remediation.state is State.PROPOSED
    assert careful(world).approve(record.id, actor=ANA).written
    world.check_trail()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("part", ["ledger", "registry"])
def test_a_crash_at_any_step_of_two_approvals_loses_and_doubles_nothing(world: World, part: str, after: bool) -> None:
    for step in itertools.count(1):
        ident = asked(world, insert_id=f"{step}").id
        crashed = False
        for actor in (ANA, BO):
            rules = Wants(2)
            crashing = Crashing(getattr(world, part), itertools.count(1), step, after=after)
            try:
                service = world.instance(Mode.DRY_RUN, rules=lambda rules=rules: rules, **{part: crashing})
                service.approve(ident, actor=actor)
            except Crash:
                crashed = True
            if actor == ANA:
                assert world.registry.readers(REPOSITORY) == []
                careful(world).approve(ident, actor=actor)
        list(careful(world).sweep())
        if state(world, ident) is State.PROPOSED:
            careful(world).approve(ident, actor=BO)
        assert state(world, ident) is State.GRANTED
        steps = [each for each in world.ledger.trail(ident) if each.approval]
        assert len(steps) % 2 == 0
        world.check_trail()
        careful(world).revoke(ident, actor=EVA, note="next")
        if not crashed:
            break


# The deployer is unknown


def test_an_unknown_deployer_needs_two_different_approvers(world: World) -> None:
    record = unknown(world)
    assert world.instance().check(record.id, ANA).needed == 2
    assert world.instance().approve(record.id, actor=ANA).remediation.state is State.PROPOSED
    assert world.instance().approve(record.id, actor=ANA, not_mine=True).remediation.state is State.PROPOSED
    assert world.registry.writes == 0
    assert world.instance().approve(record.id, actor=BO).written


def test_one_who_declares_is_enough_by_setting_and_stands_in_the_trail(world: World) -> None:
    record = unknown(world)
    declaring = world.instance(limits=DECLARE)
    assert declaring.check(record.id, ANA).may_declare
    assert declaring.approve(record.id, actor=ANA).remediation.state is State.PROPOSED
    done = declaring.approve(record.id, actor=ANA, not_mine=True)
    assert done.written
    approved = next(step for step in world.ledger.trail(record.id) if step.after is State.APPROVED)
    assert (approved.actor, approved.not_mine) == (f"user:{ANA}", True)
    assert broken_trail(record.id, done.remediation, list(world.ledger.trail(record.id))) is None


def test_a_declaration_does_not_replace_a_rules_second_approver(world: World) -> None:
    record = asked(world)
    declaring = world.instance(limits=DECLARE, rules=lambda: Wants(2))
    assert declaring.approve(record.id, actor=ANA, not_mine=True).remediation.state is State.PROPOSED


def test_a_forged_deployer_makes_no_unknown_one_known(world: World) -> None:
    """Who deployed and wants to approve alone delivers an entry that names somebody else."""
    record = unknown(world)
    other = denial(system_event() | {"insertId": "forged"})
    world.logs.written = lambda insert_id: None if insert_id == "forged" else system_event() | {"insertId": "event"}
    world.instance().handle(replace(other, deployer=Member("serviceAccount:ci@shop-frontend.iam.gserviceaccount.com")))
    stored = world.ledger.get(record.id)
    assert stored
    assert stored.names.deployers
    assert world.instance().approve(record.id, actor=ANA).remediation.state is State.PROPOSED


def test_without_a_log_what_the_record_says_counts(world: World) -> None:
    record = unknown(world)
    alone = world.instance(logs=None)
    assert alone.approve(record.id, actor=ANA).remediation.state is State.PROPOSED
    assert alone.approve(record.id, actor=BO).written
    assert world.instance(logs=None).approve(proposed(world).id, actor=REVIEWER).written


def test_an_approval_of_an_unknown_deployers_by_one_is_not_carried_out_later(world: World) -> None:
    record = unknown(world)
    old, step = transition(record, State.APPROVED, actor=f"user:{ANA}", now=world.now, added_by_us=True)
    world.ledger.commit(old, trail=[step])
    list(world.instance(Mode.DRY_RUN).sweep())
    assert (state(world, record.id), world.registry.writes) == (State.PROPOSED, 0)


def test_an_approval_that_is_not_on_the_trail_is_found(world: World) -> None:
    record = asked(world)
    done = careful(world).approve(record.id, actor=ANA).remediation
    trail = list(world.ledger.trail(record.id))
    assert broken_trail(record.id, done, trail) is None
    added = replace(done.lifecycle.approvals[0], actor=f"user:{EVA}")
    assert "eva@example.com" in str(
        broken_trail(record.id, with_fields(done, approvals=(*done.lifecycle.approvals, added)), trail)
    )
    assert broken_trail(
        record.id, with_fields(done, approvals=(replace(done.lifecycle.approvals[0], max_duration=9.0),)), trail
    )


def test_counting_is_by_people() -> None:
    one = Approval(f"user:{ANA}", "2026-01-01T00:00:00Z", "c", 2)
    assert people([one, replace(one, actor="user:ANA@example.com")]) == 1
    assert shortest([one, replace(one, max_duration=3600.0)]) == timedelta(hours=1)
    assert shortest([one]) is None
    assert approvals_text([]) == approvals_text([replace(one, of=1)]) == ""
