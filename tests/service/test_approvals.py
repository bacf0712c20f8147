"""Whose word a grant stands on, that it still holds when it is carried out, and that nothing undoes it from behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from remediate.cloud.interface import Cloud, PolicyChange, Project
from remediate.decisions.policy import Mode, Outcome
from remediate.decisions.policy_file import parse_policy
from remediate.errors import Refused, TransientFault
from remediate.iam.allow_policy import Binding
from remediate.reasons import Reason
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.records.trail_verification import broken_trail
from tests.audit_entries import (
    AGENT,
    DEPLOYER,
    PROJECT,
    REPOSITORY,
    activity,
    agent_text,
    call_entry,
    denial,
    system_event,
    user_text,
)
from tests.records.changed import with_fields
from tests.service.helpers import (
    ASKS,
    DAY,
    MEMBER,
    Crash,
    Overlaid,
    Registry,
    approved_by_a_rule,
    crash,
    cross,
    proposed,
    same,
    same_entry,
    state,
)
from tests.service.world import REVIEWER, SAME_IMAGE, SAME_REPOSITORY, World

SECOND = "bo@example.org"
SECURITY = parse_policy(
    "rules:\n- {name: sec, when: true, then: ask, reviewers: [security@example.com]}\n", "policy.yaml"
)


class Bars:
    """A Policy Troubleshooter that names a deny policy."""

    def denied_by_policy(self, *_: Any) -> bool:
        return True


@pytest.mark.parametrize("cause", [Reason.INHERITED, Reason.BARRED])
def test_what_a_grant_would_not_cure_is_not_granted_on_anybodys_word(world: World, cause: Reason) -> None:
    record = proposed(world)
    cloud = Cloud(world.registry, world.projects, world.roles, world.logs, Bars() if cause is Reason.BARRED else None)
    if cause is Reason.INHERITED:
        world.projects.policies["projects/platform-images"] = [Binding("roles/artifactregistry.writer", (MEMBER,))]
    with pytest.raises(Refused, match="changed since it was proposed"):
        world.instance(cloud=cloud).approve(record.id, actor=REVIEWER, max_duration=30 * DAY)
    stored = world.ledger.get(record.id)
    assert stored
    assert (stored.state, stored.reasons) == (State.PROPOSED, (cause,))
    with pytest.raises(Refused, match="would not help"):
        world.instance(cloud=cloud).approve(record.id, actor=REVIEWER)
    assert (world.registry.readers(REPOSITORY), world.registry.writes) == ([], 0)
    world.projects.policies.clear()
    with suppress(Refused):
        world.instance().approve(record.id, actor=REVIEWER)
    assert world.instance().approve(record.id, actor=REVIEWER, max_duration=DAY).written
    world.check_trail()


def test_a_rules_approval_is_not_carried_out_once_the_rule_says_ask(world: World) -> None:
    record = approved_by_a_rule(world)
    list(world.instance(Mode.ENFORCE, rules=lambda: ASKS).sweep())
    stored = world.ledger.get(record.id)
    assert stored
    assert (stored.state, stored.terms.rule, stored.lifecycle.approver, stored.lifecycle.added_by_us) == (
        State.PROPOSED,
        "nobody",
        None,
        False,
    )
    assert world.registry.writes == 0
    world.check_trail()


def test_a_rules_approval_is_not_carried_out_where_the_member_reads_already(world: World) -> None:
    record = approved_by_a_rule(world)
    world.projects.policies[f"projects/{PROJECT}"] = [Binding("roles/viewer", (MEMBER,))]
    list(world.instance(Mode.ENFORCE).sweep())
    assert (state(world, record.id), world.registry.writes) == (State.PROPOSED, 0)


def test_an_approval_of_some_time_ago_is_not_carried_out_once_the_rule_leaves_it_to_others(world: World) -> None:
    record = proposed(world)
    with pytest.raises(Crash):
        world.instance(registry=Registry(world, add_reader=crash)).approve(record.id, actor=REVIEWER)
    list(world.instance(rules=lambda: SECURITY).sweep())
    assert (state(world, record.id), world.registry.writes) == (State.PROPOSED, 0)
    with pytest.raises(Refused, match=r"security@example\.com"):
        world.instance(rules=lambda: SECURITY).approve(record.id, actor=REVIEWER)
    assert world.instance(rules=lambda: SECURITY).approve(record.id, actor="security@example.com").written
    world.check_trail()


def test_what_failed_is_decided_anew_before_it_is_approved_again(world: World) -> None:
    record = proposed(world)
    world.registry.refuse_writes = True
    assert world.instance().approve(record.id, actor=REVIEWER).remediation.state is State.FAILED
    world.registry.refuse_writes = False
    with pytest.raises(Refused, match="changed since it was proposed"):
        world.instance(rules=lambda: SECURITY).approve(record.id, actor=REVIEWER)
    assert (state(world, record.id), world.registry.writes) == (State.PROPOSED, 0)


def test_a_write_that_a_refusal_overtook_is_taken_back(world: World) -> None:
    record = proposed(world)
    moved = Project("platform-images", "1", "400000000009", ())
    elsewhere = Overlaid(
        world.projects, find=lambda name: moved if name == "platform-images" else world.projects.find(name)
    )

    def late(*args: Any, precondition: Callable[[], bool], **kwargs: Any) -> PolicyChange:
        assert precondition()
        meanwhile = world.instance(projects=elsewhere).handle(cross("2"))
        assert meanwhile.decision.outcome is Outcome.REFUSE
        return world.registry.add_reader(*args, precondition=lambda: True, **kwargs)

    done = world.instance(registry=Registry(world, add_reader=late)).approve(record.id, actor=REVIEWER)
    assert (done.remediation.state, done.written) == (State.REFUSED, False)
    assert world.registry.readers(REPOSITORY) == []


def test_an_event_in_flight_does_not_undo_a_revocation(world: World) -> None:
    record = world.instance().handle(same("1")).remediation
    assert record

    def meanwhile(key: Any) -> list[bytes]:
        world.instance().approve(record.id, actor=REVIEWER)
        world.instance().revoke(record.id, actor=REVIEWER, note="no!")
        return world.logs.entry(key)

    handled = world.instance(Mode.ENFORCE, logs=Overlaid(world.logs, entry=meanwhile)).handle(same("2"))
    assert (handled.decision.outcome, handled.decision.reasons[-1]) == (Outcome.ASK, Reason.TAKEN_AWAY)
    assert state(world, record.id) is State.PROPOSED
    assert world.registry.readers(SAME_REPOSITORY) == []


def test_a_second_deployer_who_comes_in_between_may_not_approve_the_second_hop_either(world: World) -> None:
    other = "other@shop-frontend.iam.gserviceaccount.com"
    came: list[str] = []

    def commit(record: Remediation, **more: Any) -> Remediation:
        if record.tally.predicted and not came:
            came.append(other)
            world.instance().handle(denial(activity(insert_id="other", email=other)))
        return world.ledger.commit(record, **more)

    world.instance(ledger=Overlaid(world.ledger, commit=commit)).handle(cross())
    agent = world.records()[f"serviceAccount:{AGENT}"]
    for deployer in (DEPLOYER, other):
        with pytest.raises(Refused, match="own deploy"):
            world.instance().approve(agent.id, actor=deployer)


def test_where_nobody_knows_who_deployed_no_rule_grants(world: World) -> None:
    entry = system_event(agent_text(SAME_IMAGE), images=(SAME_IMAGE,))
    world.logs.written = lambda _: entry
    handled = world.instance(Mode.ENFORCE).handle(denial(entry))
    assert (handled.decision.outcome, handled.written) == (Outcome.ASK, False)
    assert Reason.DEPLOYER_UNKNOWN in handled.decision.reasons


def test_a_denial_that_names_no_deployer_changes_nothing_about_what_is_approved(world: World) -> None:
    world.instance().handle(cross())
    handled = world.instance().handle(denial(system_event()))
    assert handled.remediation
    assert Reason.DEPLOYER_UNKNOWN in handled.decision.reasons
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(handled.remediation.id, actor=DEPLOYER)
    assert world.instance().approve(handled.remediation.id, actor=REVIEWER).written


def test_an_image_that_the_log_does_not_name_is_no_ground_to_grant(world: World) -> None:
    prod = SAME_IMAGE.replace(":v2", ":prod")
    rules = parse_policy(
        "rules:\n- {name: prod, when: 'image.reference.endsWith(\":prod\")', then: grant}\n", "policy.yaml"
    )
    forged = denial(activity(user_text(prod), images=(prod,)))
    world.logs.written = same_entry
    handled = world.instance(Mode.ENFORCE, rules=lambda: rules).handle(forged)
    assert (handled.decision.outcome, handled.decision.reasons) == (Outcome.REFUSE, (Reason.UNVERIFIED_EVENT,))
    assert world.registry.writes == 0


def test_a_log_that_cannot_be_asked_just_now_makes_no_event_a_forgery(world: World) -> None:
    operation = "0c1f7c2e-5a7b-4f57-9d54-3f6f0c0d1e2f"
    entry = system_event(
        agent_text(SAME_IMAGE), images=(SAME_IMAGE,), annotations={"run.googleapis.com/operation-id": operation}
    )
    world.logs.written = lambda _: entry
    world.logs.operations[operation] = [call_entry(operation, "bo@example.com", insert_id="call")]
    asked: list[int] = []

    def calls(*args: Any) -> list[bytes]:
        asked.append(1)
        if len(asked) == 2:
            raise TransientFault("no more look-ups this minute")
        return world.logs.operation_entries(*args)

    logs = Overlaid(world.logs, operation_entries=calls)
    with pytest.raises(TransientFault):
        world.instance(Mode.ENFORCE, logs=logs).handle(denial(entry))
    assert world.records() == {}
    assert world.instance(Mode.ENFORCE, logs=logs).handle(denial(entry)).written


def test_a_rejection_said_twice_is_one(world: World) -> None:
    record = proposed(world)
    world.instance().reject(record.id, actor=REVIEWER, note="no")
    assert world.instance().reject(record.id, actor=REVIEWER, note="no").state is State.REJECTED
    with pytest.raises(Refused):
        world.instance().reject(record.id, actor=SECOND, note="no")
    assert [step.after for step in world.ledger.trail(record.id)] == [State.PROPOSED, State.REJECTED]


@pytest.mark.parametrize(
    "changed",
    [
        {"expires": None},
        {"added_by_us": False},
        {"role": "roles/owner"},
        {"approver": "user:x@example.com"},
        {"cycle": 2},
    ],
    ids=str,
)
def test_terms_that_were_changed_behind_the_trail_are_found(world: World, changed: dict[str, Any]) -> None:
    record = proposed(world)
    done = world.instance().approve(record.id, actor=REVIEWER, max_duration=DAY).remediation
    trail = list(world.ledger.trail(record.id))
    assert broken_trail(record.id, done, trail) is None
    assert broken_trail(record.id, with_fields(done, **changed), trail)


def test_a_policy_that_does_not_answer_is_not_waited_for_again(world: World) -> None:
    asked: list[str] = []

    def bindings(scope: str) -> list[Binding]:
        asked.append(scope)
        raise TransientFault("getIamPolicy: timed out")

    handled = world.instance(projects=Overlaid(world.projects, bindings=bindings)).handle(cross())
    assert handled.decision.outcome is Outcome.ASK
    assert len(handled.partners) == 1
    assert len(asked) == 1
