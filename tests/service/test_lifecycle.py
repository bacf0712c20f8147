"""What becomes of a remediation after its decision: it ends, is taken back, lapses, or begins anew."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediate.decisions.policy import Mode, Outcome
from remediate.errors import Refused, TerminalFault, TransientFault
from remediate.iam.allow_policy import Binding
from remediate.iam.grant import ROLE, Grant
from remediate.iam.repository import Repository
from remediate.ledger.interface import Filter
from remediate.reasons import Reason
from remediate.records.digests import content_digest
from remediate.records.hash_chain import broken_link
from remediate.records.remediation import Remediation
from remediate.records.results import Swept
from remediate.records.states import State
from remediate.service.reviewers import Reviewers
from tests.audit_entries import DEPLOYER, REPOSITORY, activity, denial
from tests.records.changed import with_fields
from tests.service.helpers import DAY, MEMBER, Crash, Crashing, cross, proposed, same, state
from tests.service.world import REVIEWER, SAME_REPOSITORY, World


def swept(world: World) -> list[Swept]:
    return list(world.instance().sweep())


def moved(world: World) -> dict[str, tuple[State | None, State]]:
    """What a sweep that can handle everything does: each remediation's state before and after, by its id."""
    found = {}
    for each in swept(world):
        assert each.remediation, each.fault
        found[each.remediation.id] = (each.before, each.remediation.state)
    return found


def test_a_grant_is_revoked_and_the_policy_is_as_it_was(world: World) -> None:
    before = list(world.registry.policies[REPOSITORY])
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER)
    revoked = world.instance().revoke(record.id, actor=REVIEWER, note="no longer needed")
    assert revoked.state is State.REVOKED
    assert world.registry.policies[REPOSITORY] == before
    with pytest.raises(Refused, match="it cannot be revoked"):
        world.instance().revoke(record.id, actor=REVIEWER, note="again")
    world.check_trail()


def test_what_was_there_before_is_never_taken_away(world: World) -> None:
    record = proposed(world)
    world.registry.policies[REPOSITORY].append(Binding(ROLE, (MEMBER,)))
    assert not world.instance().approve(record.id, actor=REVIEWER, max_duration=DAY).written
    with pytest.raises(Refused, match="had access before"):
        world.instance().revoke(record.id, actor=REVIEWER, note="x")
    world.now += 2 * DAY
    assert swept(world) == []
    assert world.registry.readers(REPOSITORY) == [MEMBER]


def test_a_rules_grant_can_be_revoked_by_the_deployer_too(world: World) -> None:
    record = world.instance(Mode.ENFORCE).handle(same()).remediation
    assert record
    world.instance().revoke(record.id, actor=DEPLOYER, note="mine")
    assert world.registry.policies[SAME_REPOSITORY] == []


def test_a_grant_for_a_time_ends_by_itself(world: World) -> None:
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER, max_duration=30 * DAY)
    world.now += 29 * DAY
    assert record.id not in moved(world)
    world.now += DAY
    assert moved(world)[record.id] == (State.GRANTED, State.EXPIRED)
    assert world.registry.readers(REPOSITORY) == []
    assert swept(world) == []
    world.check_trail()


def test_what_nobody_answers_lapses_and_is_raised_again_when_denied_again(world: World) -> None:
    record = proposed(world)
    world.now += 7 * DAY - timedelta(seconds=1)
    assert swept(world) == []
    world.now += timedelta(seconds=1)
    assert set(moved(world).values()) == {(State.PROPOSED, State.LAPSED)}
    with pytest.raises(Refused):
        world.instance().approve(record.id, actor=REVIEWER)
    again = proposed(world, "2")
    assert (again.state, again.lifecycle.cycle, again.tally.denials) == (State.PROPOSED, 2, 2)
    world.check_trail()


def test_a_rejection_holds_for_a_month(world: World) -> None:
    record = proposed(world)
    world.instance().reject(record.id, actor=REVIEWER, note="no")
    world.now += 29 * DAY
    assert proposed(world, "2").state is State.REJECTED
    world.now += DAY
    assert proposed(world, "3").state is State.PROPOSED


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_denial_after_the_end_opens_the_next_cycle_of_the_same_record(world: World, end: str) -> None:
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER, max_duration=DAY)
    if end == "revoked":
        world.instance().revoke(record.id, actor=REVIEWER, note="x")
    world.now += DAY
    swept(world)
    assert state(world, record.id) == end
    again = proposed(world, "2")
    assert (again.id, again.state, again.lifecycle.cycle, again.lifecycle.expires, again.lifecycle.added_by_us) == (
        record.id,
        State.PROPOSED,
        2,
        None,
        False,
    )
    world.check_trail()


def test_a_sweep_carries_out_what_was_approved_and_not_applied(world: World) -> None:
    record = proposed(world)
    stored = world.ledger.get(record.id)
    assert stored
    from remediate.records.lifecycle import transition

    approved, step = transition(stored, State.APPROVED, actor=f"user:{REVIEWER}", now=world.now, added_by_us=True)
    world.ledger.commit(approved, trail=[step])
    assert moved(world)[record.id] == (State.APPROVED, State.GRANTED)
    assert world.registry.readers(REPOSITORY) == [MEMBER]
    assert swept(world) == []


def test_a_sweep_notes_what_somebody_took_away(world: World) -> None:
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER)
    world.registry.policies[REPOSITORY] = []
    assert moved(world)[record.id] == (State.GRANTED, State.REMOVED)


def test_a_grant_on_a_repository_that_is_gone_is_refused_when_denied_again(world: World) -> None:
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER)
    del world.registry.policies[REPOSITORY]
    assert proposed(world, "2").state is State.REFUSED
    assert [step.after for step in world.ledger.trail(record.id)][-2:] == [State.REMOVED, State.REFUSED]


class Failing:
    """A registry that fails with `fault` whatever is asked about `repository`."""

    def __init__(self, world: World, repository: str, fault: Exception) -> None:
        self._world, self._repository, self._fault = world, repository, fault

    def __getattr__(self, name: str) -> Any:
        def call(asked: Repository | Grant, *args: Any, **kwargs: Any) -> Any:
            if str(asked.repository if isinstance(asked, Grant) else asked) == self._repository:
                raise self._fault
            return getattr(self._world.registry, name)(asked, *args, **kwargs)

        return call


@pytest.mark.parametrize("fault", [TerminalFault("403 no"), TransientFault("503 busy")])
def test_a_sweep_goes_on_behind_what_cannot_be_done(world: World, fault: Exception) -> None:
    first = proposed(world)
    world.instance().approve(first.id, actor=REVIEWER, max_duration=DAY)
    world.instance(Mode.ENFORCE).handle(same())
    world.registry.policies[SAME_REPOSITORY] = []
    world.now += DAY
    failing = world.instance(registry=Failing(world, REPOSITORY, fault))
    done = {
        each.remediation.repository: (each.remediation.state, each.fault)
        for each in failing.sweep()
        if each.remediation
    }
    assert done == {REPOSITORY: (State.GRANTED, str(fault)), SAME_REPOSITORY: (State.REMOVED, "")}
    assert state(world, first.id) is State.GRANTED
    assert state(world, first.id) is State.GRANTED
    assert State.EXPIRED in {each.remediation.state for each in swept(world) if each.remediation}


def test_what_may_not_be_read_is_not_gone(world: World) -> None:
    """A 403 for a while must not orphan a grant, nor undo what a person said."""
    granted, asked = proposed(world), world.instance().handle(same("x")).remediation
    assert asked
    world.instance().approve(granted.id, actor=REVIEWER, max_duration=DAY)
    for repository, ident in ((REPOSITORY, granted.id), (SAME_REPOSITORY, asked.id)):
        before = state(world, ident)
        blind = world.instance(registry=Failing(world, repository, TerminalFault("403 no")))
        blind.handle(cross("2") if repository == REPOSITORY else same("2"))
        assert state(world, ident) is before
    world.check_trail()


def test_a_timed_grant_on_a_repository_that_is_gone_ends(world: World) -> None:
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER, max_duration=DAY)
    del world.registry.policies[REPOSITORY]
    world.now += DAY
    swept(world)
    assert state(world, record.id) is State.EXPIRED


def crashed_before_the_write(world: World, **approval: Any) -> Remediation:
    """A record that is approved, and whose write never came."""
    record = proposed(world)
    fatal = Failing(world, "none", Crash())
    fatal.__dict__["add_reader"] = _crash
    with pytest.raises(Crash):
        world.instance(registry=fatal).approve(record.id, actor=REVIEWER, **approval)
    assert state(world, record.id) is State.APPROVED
    return record


def _crash(*_: Any, **__: Any) -> None:
    raise Crash


def test_a_second_approval_of_what_was_not_carried_out_is_an_approval_of_its_own(world: World) -> None:
    record = crashed_before_the_write(world)
    with pytest.raises(Refused, match="changed since you saw it"):
        world.instance().approve(record.id, actor="bo@example.org", content="000000000000")
    done = world.instance().approve(record.id, actor="bo@example.org", max_duration=DAY, note="again")
    assert done.written
    assert (done.remediation.lifecycle.approver, done.remediation.lifecycle.expires is not None) == (
        "user:bo@example.org",
        True,
    )
    steps = [(step.after, step.actor) for step in world.ledger.trail(record.id)]
    assert steps[1:3] == [(State.APPROVED, f"user:{REVIEWER}"), (State.APPROVED, "user:bo@example.org")]
    world.check_trail()


@pytest.mark.parametrize("actor", [REVIEWER, "bo@example.org"])
def test_nobody_finishes_an_approval_that_would_be_refused_now(world: World, actor: str) -> None:
    record = crashed_before_the_write(world)
    world.projects.projects[1] = replace(world.projects.projects[1], organization="999")
    with suppress(Refused):
        world.instance().approve(record.id, actor=actor)
    assert (state(world, record.id), world.registry.writes) == (State.REFUSED, 0)


def test_an_approval_whose_time_is_over_is_not_carried_out(world: World) -> None:
    record = crashed_before_the_write(world, max_duration=timedelta(hours=1))
    world.now += DAY
    swept(world)
    assert (state(world, record.id), world.registry.writes) == (State.LAPSED, 0)


@pytest.mark.parametrize("later", ["lapses", "moves"])
def test_a_write_that_was_done_is_recorded_whatever_has_changed_since(world: World, later: str) -> None:
    record = proposed(world)
    after = Crashing(world.registry, itertools.count(1), 3, after=True)
    with pytest.raises(Crash):
        world.instance(registry=after).approve(record.id, actor=REVIEWER, max_duration=DAY)
    assert (state(world, record.id), world.registry.writes) == (State.APPROVED, 1)
    if later == "lapses":
        world.now += 8 * DAY
    else:
        world.projects.projects[1] = replace(world.projects.projects[1], organization="999")
    swept(world)
    assert state(world, record.id) is State.GRANTED
    world.now += DAY
    swept(world)
    assert (state(world, record.id), world.registry.readers(REPOSITORY)) == (State.EXPIRED, [])
    world.check_trail()


@pytest.mark.parametrize("how", ["revoked", "by hand"])
def test_a_rule_does_not_give_back_what_somebody_took_away(world: World, how: str) -> None:
    record = world.instance(Mode.ENFORCE).handle(same("1")).remediation
    assert record
    if how == "revoked":
        world.instance().revoke(record.id, actor=REVIEWER, note="compromised")
    else:
        world.registry.policies[SAME_REPOSITORY] = []
    for number in ("2", "3"):
        decision = world.instance(Mode.ENFORCE).handle(same(number)).decision
        assert (decision.outcome, decision.reasons[-1]) == (Outcome.ASK, Reason.TAKEN_AWAY)
    assert world.registry.readers(SAME_REPOSITORY) == []
    assert world.instance().approve(record.id, actor=REVIEWER).written
    world.check_trail()


def test_who_impersonated_the_deployer_may_not_approve_either(world: World) -> None:
    entry = activity(
        subject="principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/ana@example.com"
    )
    info = entry["protoPayload"]["authenticationInfo"]
    info["serviceAccountDelegationInfo"] = [
        {"firstPartyPrincipal": {"principalEmail": "bo@example.com"}, "principalSubject": "user:bo@example.com"},
        {"principalSubject": "serviceAccount:ci@shop-frontend.iam.gserviceaccount.com"},
    ]
    handled = world.instance().handle(denial(entry))
    assert handled.remediation
    assert handled.remediation.member == MEMBER
    behind = ("ana@example.com", "bo@example.com", "ci@shop-frontend.iam.gserviceaccount.com", DEPLOYER)
    for ident in (handled.remediation.id, *handled.partners):
        for actor in behind:
            with pytest.raises(Refused, match="own deploy"):
                world.instance().approve(ident, actor=actor)
    assert world.instance().approve(handled.remediation.id, actor=REVIEWER).written


def test_the_last_denial_is_the_last(world: World) -> None:
    for number, name in enumerate(("shop-a", "shop-b", "shop-a")):
        world.instance().handle(denial(activity(insert_id=str(number), project=name, number=None)))
    [record] = [each for each in world.records().values() if each.member == MEMBER]
    assert [each.project for each in record.tally.deploys] == ["shop-b", "shop-a"]


def test_tampering_deletion_and_reordering_are_found_at_the_first_broken_link(world: World) -> None:
    record = proposed(world)
    final = world.instance().approve(record.id, actor=REVIEWER).remediation
    trail = list(world.ledger.trail(record.id))
    assert broken_link(final.storage, trail) is None
    assert "record 2 was changed" in str(
        broken_link(final.storage, [trail[0], replace(trail[1], actor="user:x@y.z"), trail[2]])
    )
    assert "record 2 is missing" in str(broken_link(final.storage, [trail[0], trail[2]]))
    assert "record 3 of 3 is missing at the end" in str(broken_link(final.storage, trail[:2]))
    assert "record 1 is missing" in str(broken_link(final.storage, [trail[1], trail[0], trail[2]]))
    assert "missing" in str(broken_link(None, trail))
    forged = replace(trail[2], note="forged")
    from remediate.records.hash_chain import digest

    assert "is not the recorded" in str(broken_link(final.storage, [*trail[:2], replace(forged, hash=digest(forged))]))


def test_every_remediation_is_swept_however_many_there_are(world: World) -> None:
    for number in range(3):
        proposed(world, str(number))
    world.now += 8 * DAY
    assert len(swept(world)) == len(world.ledger.find(Filter())) == 2


def test_a_second_deployer_may_not_approve_the_agents_grant_either(world: World) -> None:
    first = world.instance().handle(cross("1"))
    assert first.partners
    second = denial(activity(email="bo@example.com", insert_id="2"))
    assert world.instance().handle(second).partners[0] == first.partners[0]
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(first.partners[0], actor="bo@example.com")
    agent = world.ledger.get(first.partners[0])
    assert agent
    assert len(agent.tally.partners) == 2
    assert world.instance().handle(second).duplicate
    assert world.ledger.get(first.partners[0]) == agent


def test_approving_what_was_granted_and_taken_away_says_so(world: World) -> None:
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER)
    world.registry.policies[REPOSITORY] = []
    with pytest.raises(Refused, match="was removed in IAM since"):
        world.instance().approve(record.id, actor=REVIEWER)
    assert state(world, record.id) is State.REMOVED
    world.check_trail()


def test_a_duration_is_not_promised_for_what_is_not_ours(world: World) -> None:
    record = proposed(world)
    world.registry.policies[REPOSITORY].append(Binding(ROLE, (MEMBER,)))
    done = world.instance().approve(record.id, actor=REVIEWER, max_duration=DAY).remediation
    assert (done.lifecycle.added_by_us, done.lifecycle.expires) == (False, None)


def test_an_approval_names_what_was_seen(world: World) -> None:
    record = proposed(world)
    seen = content_digest(record)
    assert seen == content_digest(proposed(world, "again"))  # the count and the time are not what is approved
    second = denial(activity(insert_id="3", project="shop-backend", number="123456789012"))
    world.instance().handle(second)
    with pytest.raises(Refused, match="changed since you saw it"):
        world.instance().approve(record.id, actor=REVIEWER, content=seen)
    assert world.registry.writes == 0
    stored = world.ledger.get(record.id)
    assert stored
    assert world.instance().approve(record.id, actor=REVIEWER, content=content_digest(stored)).written
    approval = list(world.ledger.trail(record.id))[-2]
    assert (approval.after, approval.content) == (State.APPROVED, content_digest(stored))


def test_a_proposal_shows_the_one_binding_that_would_change(world: World) -> None:
    record = proposed(world)
    change = world.instance().proposal(record.id).policy
    assert (change.before, change.after) == (None, (MEMBER,))
    world.registry.policies[REPOSITORY].append(Binding(ROLE, ("user:ana@example.com",)))
    change = world.instance().proposal(record.id).policy
    assert (change.before, change.after) == (("user:ana@example.com",), ("user:ana@example.com", MEMBER))
    assert world.registry.writes == 0
    world.instance().approve(record.id, actor=REVIEWER)
    change = world.instance().proposal(record.id).policy
    assert change.before == change.after == ("user:ana@example.com", MEMBER)


@pytest.mark.parametrize("world_changes", ["gone", "moved"])
def test_an_approval_of_what_would_be_refused_now_is_refused(world: World, world_changes: str) -> None:
    record = proposed(world)
    if world_changes == "gone":
        del world.registry.policies[REPOSITORY]
    else:
        world.projects.projects[1] = replace(world.projects.projects[1], organization="999")
    with pytest.raises(Refused, match=f"{record.id} is now refused"):
        world.instance().approve(record.id, actor=REVIEWER)
    assert (state(world, record.id), world.registry.writes) == (State.REFUSED, 0)
    world.check_trail()


def test_a_proposal_whose_reasons_have_changed_is_proposed_anew(world: World) -> None:
    record = proposed(world)
    stored = world.ledger.get(record.id)
    assert stored
    world.ledger.commit(with_fields(stored, reasons=(Reason.SHARED_IDENTITY,)))
    with pytest.raises(Refused, match="changed since it was proposed"):
        world.instance().approve(record.id, actor=REVIEWER)
    renewed = world.ledger.get(record.id)
    assert renewed
    assert (renewed.state, renewed.lifecycle.cycle, renewed.reasons) == (State.PROPOSED, 1, (Reason.CROSS_PROJECT,))
    assert world.registry.writes == 0
    assert world.instance().approve(record.id, actor=REVIEWER).written
    world.check_trail()


def test_an_old_approval_is_not_carried_out_once_it_would_be_refused(world: World) -> None:
    from remediate.records.lifecycle import transition

    record = proposed(world)
    stored = world.ledger.get(record.id)
    assert stored
    approved, step = transition(stored, State.APPROVED, actor=f"user:{REVIEWER}", now=world.now)
    world.ledger.commit(approved, trail=[step])
    world.projects.projects[1] = replace(world.projects.projects[1], organization="999")
    assert (moved(world)[record.id], world.registry.writes) == ((State.APPROVED, State.REFUSED), 0)


def test_the_service_itself_reviews_nothing(world: World) -> None:
    record = proposed(world)
    own = "receiver@remediate-ops.iam.gserviceaccount.com"
    service = world.instance(reviewers=Reviewers(service=(f"serviceaccount:{own}",)))
    with pytest.raises(Refused, match="is the service itself"):
        service.approve(record.id, actor=own.replace("receiver", "Receiver"))
    assert service.approve(record.id, actor=REVIEWER).written


def test_what_never_arrived_is_picked_up_and_what_did_is_left(world: World) -> None:
    world.instance().handle(cross("1"))
    entries = [activity(insert_id=number) for number in ("1", "2")] + [activity("Something else.", insert_id="3")]
    lost = [json.dumps(each).encode() for each in entries] + [b"{]"]
    [found] = world.instance().pick_up(lost)
    assert found.remediation
    assert (found.remediation.member, found.remediation.tally.denials) == (MEMBER, 2)
    assert list(world.instance().pick_up(lost)) == []
