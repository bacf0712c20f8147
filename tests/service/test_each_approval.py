"""Each branch of an approval: what it answers, what it records, and what a later look makes of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from remediate.decisions.policy import Mode, Outcome
from remediate.decisions.policy_file import parse_policy
from remediate.errors import BadInput, Refused, Stale
from remediate.iam.allow_policy import Binding
from remediate.iam.grant import ROLE
from remediate.reasons import Reason
from remediate.records.remediation import Remediation
from remediate.records.results import Limits
from remediate.records.states import State
from remediate.service.reviewers import Reviewers
from tests.audit_entries import AGENT, DEPLOYER, REPOSITORY, activity, denial, system_event
from tests.records.changed import with_fields
from tests.service.helpers import (
    DAY,
    MEMBER,
    Crash,
    Overlaid,
    Registry,
    crash,
    cross,
    impersonated,
    proposed,
    same,
    state,
)
from tests.service.world import REVIEWER, SAME_REPOSITORY, World

ANA, BO, EVA = "ana@example.com", "bo@example.org", "eva@example.com"
DECLARE = Limits(one_may_declare=True)


def policy(then: str = "ask", **more: Any) -> Any:
    said = "".join(f", {name}: {value}" for name, value in more.items())
    rules = parse_policy(f"rules: [{{name: only, when: true, then: {then}{said}}}]", "policy.yaml")
    return lambda: rules


def asked(world: World, insert_id: str = "1", **more: Any) -> Remediation:
    record = world.instance(rules=policy(**more)).handle(cross(insert_id)).remediation
    assert record
    return record


def unknown(world: World) -> Remediation:
    """A proposal of which the log does not say who deployed."""
    record = world.instance().handle(denial(system_event())).remediation
    assert record
    return record


def approved(world: World, record: Remediation, actor: str = REVIEWER, **more: Any) -> Remediation:
    """Approved, and the write never came."""
    with pytest.raises(Crash):
        world.instance(registry=Registry(world, add_reader=crash), **more).approve(record.id, actor=actor)
    return stored(world, record)


def stored(world: World, record: Remediation) -> Remediation:
    found = world.ledger.get(record.id)
    assert found
    return found


def notes(world: World, record: Remediation) -> list[str]:
    return [step.note for step in world.ledger.trail(record.id)]


def test_what_is_not_there_is_named(world: World) -> None:
    with pytest.raises(BadInput) as bad:
        world.instance().approve("r-0", actor=REVIEWER)
    assert (str(bad.value), bad.value.advice) == ("there is no remediation 'r-0'", "`remediate list` shows all.")


@pytest.mark.parametrize(("lasts", "until"), [(None, "it is revoked"), (DAY, "2026-11-24T12:00:00.000000Z")])
def test_what_is_granted_is_not_granted_for_another_time(world: World, lasts: timedelta | None, until: str) -> None:
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER, max_duration=lasts)
    with pytest.raises(Refused) as refused:
        world.instance().approve(record.id, actor=REVIEWER, max_duration=2 * DAY)
    assert str(refused.value) == f"{record.id} is already granted until {until}; revoke it first"
    assert world.instance().approve(record.id, actor=REVIEWER).remediation.state is State.GRANTED


def test_who_saw_something_else_is_told_where_to_look(world: World) -> None:
    record = proposed(world)
    with pytest.raises(Stale) as stale:
        world.instance().approve(record.id, actor=REVIEWER, content="0" * 12)
    assert stale.value.advice == f"Review it again: remediate show {record.id}"


def test_the_same_word_again_is_carried_out_and_recorded_once(world: World) -> None:
    record = proposed(world)
    approved(world, record)
    assert world.instance().approve(record.id, actor=REVIEWER).written
    assert [step.after for step in world.ledger.trail(record.id)] == [State.PROPOSED, State.APPROVED, State.GRANTED]


@pytest.mark.parametrize(("actor", "lasts"), [(BO, None), (REVIEWER, DAY)])
def test_another_word_is_recorded_too(world: World, actor: str, lasts: timedelta | None) -> None:
    record = proposed(world)
    approved(world, record)
    done = world.instance().approve(record.id, actor=actor, max_duration=lasts)
    assert (done.written, done.remediation.lifecycle.approver) == (True, f"user:{actor}")
    assert done.remediation.lifecycle.expires == ("2026-11-24T12:00:00.000000Z" if lasts else None)
    assert len(list(world.ledger.trail(record.id))) == 4


def test_a_check_says_who_may_not_approve_and_how_many_have_to(world: World) -> None:
    nobody = unknown(world)
    assert (world.instance().check(nobody.id).needed, world.instance().check(nobody.id).may_declare) == (2, False)
    may = world.instance(limits=DECLARE).check(nobody.id)
    assert (may.needed, may.may_declare) == (2, True)
    record = proposed(world)
    own = world.instance().check(record.id, DEPLOYER)
    assert own.barred == f"serviceAccount:{DEPLOYER} may not review {record.id}: it is about their own deploy"
    assert (own.needed, own.may_declare) == (1, False)
    assert world.instance(limits=DECLARE).check(record.id).may_declare is False
    assert world.instance().check(record.id, REVIEWER).barred == ""


def test_a_check_bars_whom_the_log_itself_names(world: World) -> None:
    entry = activity(insert_id="1", email=ANA)
    record = world.instance().handle(denial(entry)).remediation
    assert record
    world.ledger.commit(with_fields(record, deployers=(), named_by=()))
    assert "own deploy" in world.instance().check(record.id, ANA).barred
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(record.id, actor=ANA)


@pytest.mark.parametrize("ask", ["check", "approve"])
def test_the_log_is_asked_once_for_an_approval(world: World, ask: str) -> None:
    record = proposed(world)
    before = world.logs.reads
    if ask == "check":
        world.instance().check(record.id, REVIEWER)
    else:
        world.instance().approve(record.id, actor=REVIEWER)
    assert world.logs.reads == before + 1


def test_a_plain_approval_leaves_nothing_but_itself(world: World) -> None:
    record = proposed(world)
    done = world.instance().approve(record.id, actor=REVIEWER).remediation
    assert (done.lifecycle.approvals, done.lifecycle.expires, done.lifecycle.approver, done.lifecycle.added_by_us) == (
        (),
        None,
        f"user:{REVIEWER}",
        True,
    )
    assert Reason.EVENT_UNVERIFIED not in done.reasons
    assert done.reasons == record.reasons


def test_what_two_approved_keeps_both_though_the_member_reads_by_now(world: World) -> None:
    record = asked(world, approvals=2)
    rules = policy(approvals=2)
    world.instance(rules=rules).approve(record.id, actor=ANA)
    world.registry.policies[REPOSITORY].append(Binding(ROLE, (MEMBER,)))
    done = world.instance(rules=rules).approve(record.id, actor=BO).remediation
    assert [each.actor for each in done.lifecycle.approvals] == [f"user:{ANA}", f"user:{BO}"]
    assert (done.lifecycle.added_by_us, done.lifecycle.expires) == (False, None)


@pytest.mark.parametrize(("lasts", "days"), [(None, 7), (30 * DAY, 7), (DAY, 1)])
def test_a_grant_ends_no_later_than_its_rule_says(world: World, lasts: timedelta | None, days: int) -> None:
    record = asked(world, expires_after="7d")
    done = (
        world.instance(rules=policy(expires_after="7d"))
        .approve(record.id, actor=REVIEWER, max_duration=lasts)
        .remediation
    )
    assert done.lifecycle.expires
    assert datetime.fromisoformat(done.lifecycle.expires) == world.now + days * DAY


def test_an_approver_who_may_not_review_any_more_does_not_count(world: World) -> None:
    record = asked(world, approvals=2)
    world.instance(rules=policy(approvals=2)).approve(record.id, actor=ANA)
    left = world.instance(rules=policy(approvals=2), reviewers=Reviewers((f"user:{BO}", f"user:{EVA}")))
    assert left.approve(record.id, actor=BO).remediation.state is State.PROPOSED
    assert [each.actor for each in stored(world, record).lifecycle.approvals] == [f"user:{BO}"]
    assert left.approve(record.id, actor=EVA).written


def test_an_approver_who_turns_out_to_have_deployed_does_not_count(world: World) -> None:
    record = asked(world, approvals=2)
    rules = policy(approvals=2)
    world.instance(rules=rules).approve(record.id, actor=ANA)
    now = stored(world, record)
    world.ledger.commit(with_fields(now, deployers=(*now.names.deployers, f"user:{ANA}")))
    assert world.instance(rules=rules).approve(record.id, actor=BO).remediation.state is State.PROPOSED


def test_an_approval_ends_at_the_moment_it_named(world: World) -> None:
    record = proposed(world)
    with pytest.raises(Crash):
        world.instance(registry=Registry(world, add_reader=crash)).approve(record.id, actor=REVIEWER, max_duration=DAY)
    world.now += DAY
    handled = world.instance(Mode.ENFORCE).handle(cross("1"))
    assert (handled.written, state(world, record.id), world.registry.writes) == (False, State.LAPSED, 0)
    assert notes(world, record)[-1] == "was approved until 2026-11-24T12:00:00.000000Z"


def test_a_refusal_of_what_was_approved_records_who_decided(world: World) -> None:
    record = proposed(world)
    approved(world, record)
    del world.registry.policies[REPOSITORY]
    handled = world.instance(Mode.ENFORCE).handle(cross("1"))
    assert handled.written is False
    last = list(world.ledger.trail(record.id))[-1]
    assert (last.after, last.actor, last.note, last.outcome, last.rule) == (
        State.REFUSED,
        "remediate",
        "",
        Outcome.REFUSE,
        "invariants",
    )
    assert last.reasons == (Reason.REPOSITORY_NOT_FOUND,)


def test_one_word_is_enough_later_where_the_deployer_is_known(world: World) -> None:
    record = proposed(world)
    [agent] = record.tally.partners
    approved(world, stored(world, with_fields(record, id=agent)))
    assert stored(world, with_fields(record, id=agent)).member == f"serviceAccount:{AGENT}"
    list(world.instance().sweep())
    assert state(world, agent) is State.GRANTED


def test_where_the_deployer_is_unknown_two_words_are_enough_later(world: World) -> None:
    record = unknown(world)
    world.instance().approve(record.id, actor=ANA)
    approved(world, record, BO)
    list(world.instance().sweep())
    assert state(world, record.id) is State.GRANTED


def test_what_the_log_has_otherwise_is_told_with_every_entry(world: World) -> None:
    record = proposed(world, "1")
    world.instance().handle(cross("2"))
    world.logs.written = lambda _: activity("Quota exceeded.", insert_id="1")
    with pytest.raises(Refused) as refused:
        world.instance().approve(record.id, actor=REVIEWER)
    assert str(refused.value) == f"{record.id} is now refused: {Reason.UNVERIFIED_EVENT.sentence}"
    said = "entry '{}' {} in the log"
    newest, oldest = said.format("2", "is not there"), said.format("1", "says something else")
    assert notes(world, record)[-1] == f"{newest}; {oldest}"


def test_a_proposal_that_the_world_overtook_is_proposed_anew_with_the_reasons(world: World) -> None:
    record = proposed(world)
    world.projects.policies["projects/platform-images"] = [Binding("roles/artifactregistry.writer", (MEMBER,))]
    with pytest.raises(Refused) as refused:
        world.instance().approve(record.id, actor=REVIEWER)
    why = Reason.INHERITED.sentence
    assert str(refused.value) == f"{record.id} changed since it was proposed; review it again: {why}"
    assert notes(world, record)[-1] == "the world has changed since it was proposed"


def test_a_rule_that_leaves_it_to_others_is_obeyed_though_another_one_proposed_it(world: World) -> None:
    rules = parse_policy(
        "rules:\n"
        "- {name: images, when: 'deploy.project == \"platform-images\"', then: ask, reviewers: [eva@example.com]}\n"
        "- {name: rest, when: true, then: ask}\n",
        "policy.yaml",
    )
    service = world.instance(rules=lambda: rules)
    record = service.handle(cross("1")).remediation
    assert record
    others = activity(insert_id="2", project="platform-images", number="210987654321")
    service.handle(denial(others))
    service.handle(cross("3"))  # both rules were shown: the newest terms are those of `images`
    assert stored(world, record).terms.rule == "images"
    service.approve(record.id, actor=EVA)
    assert state(world, record.id) is State.GRANTED


def test_the_strictest_terms_that_were_shown_count(world: World) -> None:
    rules = parse_policy(
        "rules:\n"
        "- {name: images, when: 'deploy.project == \"platform-images\"', then: ask}\n"
        "- {name: rest, when: true, then: ask, approvals: 2, reviewers: [eva@example.com, bo@example.org], expires_after: 1d}\n",
        "policy.yaml",
    )
    service = world.instance(rules=lambda: rules)
    record = service.handle(cross("1")).remediation
    assert record
    service.handle(denial(activity(insert_id="2", project="platform-images", number="210987654321")))
    service.handle(cross("3"))
    now = stored(world, record)
    assert (now.terms.rule, now.terms.approvals_needed, now.storage.trail) == ("images", 1, 2)
    with pytest.raises(Refused) as refused:
        service.approve(record.id, actor=ANA)
    names = f"user:{EVA}, user:{BO}"
    assert str(refused.value) == f"user:{ANA} may not review {record.id}: rule 'rest' allows only {names}"
    assert service.approve(record.id, actor=EVA).remediation.state is State.PROPOSED
    done = service.approve(record.id, actor=BO).remediation
    assert done.state is State.GRANTED
    assert done.lifecycle.expires
    assert datetime.fromisoformat(done.lifecycle.expires) == world.now + DAY


def test_a_rules_own_word_is_given_back_where_the_member_reads_already(world: World) -> None:
    with pytest.raises(Crash):
        world.instance(Mode.ENFORCE, registry=Registry(world, add_reader=crash)).handle(same())
    world.registry.policies[SAME_REPOSITORY] = [Binding(ROLE, (MEMBER,))]
    handled = world.instance(Mode.ENFORCE).handle(same())
    assert handled.remediation
    assert handled.remediation.state is State.GRANTED


def test_what_the_log_says_of_the_caller_outweighs_what_was_delivered(world: World) -> None:
    record = proposed(world)
    world.logs.written = lambda _: activity(insert_id="1", granted=False)
    with pytest.raises(Refused) as refused:
        world.instance().approve(record.id, actor=REVIEWER)
    why = f"{Reason.CROSS_PROJECT.sentence}; {Reason.UNAUTHORIZED_CALLER.sentence}"
    assert str(refused.value) == f"{record.id} changed since it was proposed; review it again: {why}"


def test_who_stands_behind_the_call_by_the_log_may_not_approve(world: World) -> None:
    entry = impersonated(activity(insert_id="1"), ANA)
    record = world.instance().handle(denial(entry)).remediation
    assert record
    world.ledger.commit(with_fields(record, deployers=(MEMBER,), named_by=()))
    assert world.instance().check(record.id, ANA).barred.endswith("it is about their own deploy")
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(record.id, actor=ANA)


def test_whose_approval_the_log_contradicts_later_does_not_count(world: World) -> None:
    record = asked(world, approvals=2)
    rules = policy(approvals=2)
    world.instance(rules=rules).approve(record.id, actor=ANA)
    world.logs.written = lambda _: impersonated(activity(insert_id="1"), ANA)
    assert world.instance(rules=rules).approve(record.id, actor=BO).remediation.state is State.PROPOSED
    assert [each.actor for each in stored(world, record).lifecycle.approvals] == [f"user:{BO}"]


def test_an_approval_of_what_was_there_already_is_recorded_later(world: World) -> None:
    record = proposed(world)
    world.registry.policies[REPOSITORY].append(Binding(ROLE, (MEMBER,)))
    assert not approved(world, record).lifecycle.added_by_us
    list(world.instance().sweep())
    assert (state(world, record.id), world.registry.writes) == (State.GRANTED, 0)


def test_a_withdrawal_that_another_step_overtakes_is_made_on_the_newer_record(world: World) -> None:
    record = proposed(world)
    approved(world, record)
    del world.registry.policies[REPOSITORY]
    raced: list[int] = []

    def commit(changed: Remediation, **more: Any) -> Remediation:
        if changed.state is State.REFUSED and not raced:
            raced.append(1)
            now = stored(world, record)
            world.ledger.commit(with_fields(now, denials=now.tally.denials + 1))
        return world.ledger.commit(changed, **more)

    list(world.instance(ledger=Overlaid(world.ledger, commit=commit)).sweep())
    assert (state(world, record.id), stored(world, record).tally.denials) == (State.REFUSED, 2)


def test_who_closed_a_proposal_and_when_is_told_to_the_next_reviewer(world: World) -> None:
    record = proposed(world)
    world.instance().reject(record.id, actor=ANA, note="no")
    world.now += DAY
    world.instance().reject(record.tally.partners[0], actor=EVA, note="neither")
    service = world.instance()
    asked: dict[str, Callable[[], object]] = {
        "approved": partial(service.approve, record.id, actor=BO),
        "rejected": partial(service.reject, record.id, actor=BO, note="x"),
        "revoked": partial(service.revoke, record.id, actor=BO, note="x"),
    }
    for past, ask in asked.items():
        with pytest.raises(Refused) as refused:
            ask()
        assert str(refused.value) == f"{record.id} was rejected by {ANA} (2026-11-23); it cannot be {past}"


def test_what_expired_unanswered_says_so(world: World) -> None:
    record = proposed(world)
    with pytest.raises(Refused, match=f"{record.id} is proposed; it cannot be revoked"):
        world.instance().revoke(record.id, actor=BO, note="x")
    world.now += 8 * DAY
    list(world.instance().sweep())
    with pytest.raises(Refused, match=rf"{record.id} expired unanswered \(2026-12-01\); it cannot be approved"):
        world.instance().approve(record.id, actor=BO)
