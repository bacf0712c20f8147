"""One denial, however often and whatever crashes: one record, one trail record a transition, at most one write."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from remediate.decisions.policy import Mode, Outcome
from remediate.entries.denial import Denial
from remediate.errors import BadInput, Refused, TransientFault
from remediate.iam.allow_policy import Binding
from remediate.iam.grant import ROLE
from remediate.ledger.sqlite import SqliteLedger
from remediate.reasons import Reason
from remediate.records.states import State
from tests.audit_entries import (
    AGENT,
    DEPLOYER,
    REPOSITORY,
    activity,
    bare_text,
    denial,
    system_event,
    understood,
)
from tests.fakes import MemoryProjects
from tests.records.changed import with_fields
from tests.service.helpers import Crash, Crashing, cross, same
from tests.service.world import REVIEWER, SAME_REPOSITORY, World


def test_dry_run_proposes_both_hops_and_writes_nothing(world: World) -> None:
    handled = world.instance().handle(cross())
    assert handled.decision.outcome is Outcome.ASK
    records = world.records()
    deployer, agent = records[f"serviceAccount:{DEPLOYER}"], records[f"serviceAccount:{AGENT}"]
    assert (deployer.state, deployer.tally.denials, deployer.tally.predicted) == (State.PROPOSED, 1, False)
    assert (agent.state, agent.tally.denials, agent.tally.predicted) == (State.PROPOSED, 0, True)
    assert agent.reasons[0] is Reason.PREDICTED
    assert (deployer.tally.partners, agent.tally.partners) == ((agent.id,), (deployer.id,))
    assert world.registry.writes == 0
    world.check_trail()


def test_enforce_grants_what_is_the_same_project(world: World) -> None:
    handled = world.instance(Mode.ENFORCE).handle(same())
    assert handled.written
    assert handled.remediation
    assert handled.remediation.state is State.GRANTED
    assert world.registry.readers(SAME_REPOSITORY) == [f"serviceAccount:{DEPLOYER}"]
    actors = [each.actor for each in world.ledger.trail(handled.remediation.id)]
    assert actors == ["remediate", "rule:same project", "remediate"]
    world.check_trail()


def test_enforce_asks_what_is_not(world: World) -> None:
    assert world.instance(Mode.ENFORCE).handle(cross()).decision.outcome is Outcome.ASK
    assert world.registry.writes == 0


@pytest.mark.parametrize("mode", Mode)
def test_a_second_delivery_changes_nothing(world: World, mode: Mode) -> None:
    world.instance(mode).handle(same())
    before = world.records(), world.registry.writes
    again = world.instance(mode).handle(same())
    assert again.duplicate
    assert not again.written
    assert (world.records(), world.registry.writes) == before


def test_a_second_denial_is_counted_in_the_same_record(world: World) -> None:
    world.instance().handle(cross("1"))
    world.instance().handle(cross("2"))
    world.instance().handle(denial(system_event()))
    records = world.records()
    assert records[f"serviceAccount:{DEPLOYER}"].tally.denials == 2
    agent = records[f"serviceAccount:{AGENT}"]
    assert (agent.tally.denials, agent.tally.predicted, agent.state) == (1, False, State.PROPOSED)
    assert len(records) == 2


def test_an_approval_writes_one_member_and_says_so(world: World) -> None:
    proposed = world.instance().handle(cross()).remediation
    assert proposed
    applied = world.instance().approve(proposed.id, actor=REVIEWER, note="known pipeline")
    assert applied.written
    assert applied.remediation.state is State.GRANTED
    assert world.registry.readers(REPOSITORY) == [f"serviceAccount:{DEPLOYER}"]
    assert not world.instance().approve(proposed.id, actor=REVIEWER).written
    assert world.registry.writes == 1
    world.check_trail()


def test_in_dry_run_no_event_writes_even_what_was_approved(world: World) -> None:
    """Whoever approved crashed before the write: a reviewer finishes it, an event in enforce mode does, dry-run not."""
    proposed = world.instance().handle(cross("1")).remediation
    assert proposed
    crashing = Crashing(world.registry, itertools.count(1), 3, after=False)
    with pytest.raises(Crash):
        world.instance(registry=crashing).approve(proposed.id, actor=REVIEWER)
    assert world.records()[f"serviceAccount:{DEPLOYER}"].state is State.APPROVED
    for insert_id in ("1", "2"):
        world.instance(Mode.DRY_RUN).handle(cross(insert_id))
    assert world.registry.writes == 0
    assert world.instance().approve(proposed.id, actor=REVIEWER).written
    world.check_trail()


@pytest.mark.parametrize("actor", [DEPLOYER, DEPLOYER.upper().replace("GSERVICEACCOUNT.COM", "gserviceaccount.com")])
def test_nobody_approves_their_own_deploy(world: World, actor: str) -> None:
    proposed = world.instance().handle(cross())
    assert proposed.remediation
    assert proposed.partners
    for ident in (proposed.remediation.id, proposed.partners[0]):
        with pytest.raises(Refused, match="own deploy"):
            world.instance().approve(ident, actor=actor)
    assert world.registry.writes == 0


@pytest.mark.parametrize("actor", ["", "somebody", "allUsers", "group:all@example.com"])
def test_only_a_person_or_service_account_reviews(world: World, actor: str) -> None:
    proposed = world.instance().handle(cross()).remediation
    assert proposed
    with pytest.raises(BadInput):
        world.instance().approve(proposed.id, actor=actor)


def test_what_was_rejected_is_counted_and_not_raised_again(world: World) -> None:
    proposed = world.instance().handle(cross("1")).remediation
    assert proposed
    world.instance().reject(proposed.id, actor=REVIEWER, note="use your own registry")
    world.instance(Mode.ENFORCE).handle(cross("2"))
    record = world.records()[f"serviceAccount:{DEPLOYER}"]
    assert (record.state, record.tally.denials) == (State.REJECTED, 2)
    with pytest.raises(Refused):
        world.instance().approve(proposed.id, actor=REVIEWER)


def test_a_repository_that_does_not_exist_is_refused_and_recorded(world: World) -> None:
    del world.registry.policies[REPOSITORY]
    handled = world.instance().handle(cross())
    assert handled.decision.reasons == (Reason.REPOSITORY_NOT_FOUND,)
    assert handled.remediation
    assert handled.remediation.state is State.REFUSED
    assert handled.partners == ()


def test_a_refusal_is_thought_over_when_it_is_denied_again(world: World) -> None:
    saved = world.registry.policies.pop(REPOSITORY)
    world.instance().handle(cross("1"))
    world.registry.policies[REPOSITORY] = saved
    handled = world.instance().handle(cross("2"))
    assert handled.remediation
    assert handled.remediation.state is State.PROPOSED
    world.check_trail()


def test_a_repository_outside_the_organization_is_refused(world: World) -> None:
    foreign = REPOSITORY.replace("platform-images", "other-images")
    world.registry.policies[foreign] = []
    handled = world.instance(Mode.ENFORCE).handle(denial(activity(bare_text(foreign), images=())))
    assert (handled.decision.outcome, handled.decision.reasons) == (Outcome.REFUSE, (Reason.OTHER_ORGANIZATION,))


def test_what_changed_between_proposal_and_approval_is_refused(world: World) -> None:
    proposed = world.instance().handle(cross()).remediation
    assert proposed
    del world.registry.policies[REPOSITORY]
    with pytest.raises(Refused, match="does not exist"):
        world.instance().approve(proposed.id, actor=REVIEWER)
    assert world.records()[f"serviceAccount:{DEPLOYER}"].state is State.REFUSED


def test_a_terminal_answer_is_recorded_and_can_be_approved_again_later(world: World) -> None:
    world.registry.refuse_writes = True
    handled = world.instance(Mode.ENFORCE).handle(same())
    assert handled.remediation
    assert handled.remediation.state is State.FAILED
    assert Reason.TERMINAL_ANSWER in handled.remediation.reasons
    world.registry.refuse_writes = False
    assert world.instance().approve(handled.remediation.id, actor=REVIEWER).written
    world.check_trail()


def test_a_member_that_reads_already_is_left_alone(world: World) -> None:
    world.registry.policies[REPOSITORY] = [Binding(ROLE, (f"serviceAccount:{DEPLOYER}",))]
    handled = world.instance(Mode.ENFORCE).handle(cross())
    assert (handled.decision.outcome, handled.decision.reasons) == (Outcome.IGNORE, (Reason.ALREADY_GRANTED,))
    assert not world.records()


def test_a_denial_right_after_the_grant_is_only_counted(world: World) -> None:
    world.instance(Mode.ENFORCE).handle(same("1"))
    world.now += timedelta(minutes=5)
    handled = world.instance(Mode.ENFORCE).handle(same("2"))
    assert handled.decision.reasons == (Reason.STILL_PROPAGATING,)
    assert world.records()[f"serviceAccount:{DEPLOYER}"].tally.denials == 2
    world.now += timedelta(minutes=10)
    entry = same("3").entry
    late = replace(same("3"), entry=replace(entry, timestamp=world.now.isoformat()))
    assert world.instance(Mode.ENFORCE).handle(late).decision.reasons == (Reason.ALREADY_GRANTED,)
    assert world.registry.writes == 1


def test_a_grant_that_somebody_took_away_is_raised_again(world: World) -> None:
    world.instance(Mode.ENFORCE).handle(same("1"))
    world.registry.policies[SAME_REPOSITORY] = []
    handled = world.instance(Mode.DRY_RUN).handle(same("2"))
    assert handled.remediation
    states = [each.after for each in world.ledger.trail(handled.remediation.id)]
    assert states[-2:] == [State.REMOVED, State.PROPOSED]
    world.check_trail()


def test_numbers_become_ids_and_the_second_hop_is_known_without_the_entrys_help(world: World) -> None:
    by_number = bare_text(REPOSITORY.replace("platform-images", "210987654321"))
    handled = world.instance().handle(denial(activity(by_number, images=(), number=None)))
    assert handled.remediation
    assert handled.remediation.repository == REPOSITORY
    assert handled.partners


def test_what_names_nobody_is_asked_without_a_record(world: World) -> None:
    handled = world.instance().handle(denial(activity(email=None)))
    assert (handled.decision.outcome, handled.remediation) == (Outcome.ASK, None)
    assert not world.records()


def test_what_is_no_denial_is_ignored(world: World) -> None:
    handled = world.instance().handle(understood(activity("Something else.")))
    assert handled.decision.outcome is Outcome.IGNORE


def test_a_fault_loses_nothing(world: World) -> None:
    class Faulty(MemoryProjects):
        def find(self, project: str) -> Any:
            raise TransientFault(f"no answer about {project}")

    with pytest.raises(TransientFault):
        world.instance(projects=Faulty([])).handle(cross())
    assert not world.records()
    assert world.instance().handle(cross()).remediation


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 14))
@pytest.mark.parametrize("subject", [same(), cross()], ids=["grant", "ask"])
def test_a_crash_at_any_step_is_healed_by_the_next_delivery(
    world: World, tmp_path: Path, subject: Denial, at: int, after: bool
) -> None:
    whole = World(SqliteLedger(tmp_path / "whole.db"))
    whole.instance(Mode.ENFORCE).handle(subject)
    steps = itertools.count(1)
    parts = {name: Crashing(getattr(world, name), steps, at, after) for name in ("ledger", "registry", "projects")}
    try:
        world.instance(Mode.ENFORCE, **parts).handle(subject)
    except Crash:
        world.instance(Mode.ENFORCE).handle(subject)
    # All but the trail's hash: its note says that the member was found in the binding, which is the truth.
    without_hash = [{m: with_fields(r, trail_hash="") for m, r in each.records().items()} for each in (world, whole)]
    assert without_hash[0] == without_hash[1]
    assert world.registry == whole.registry
    world.check_trail()


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["same 1", "same 2", "cross 1", "cross 2"]), max_size=8))
def test_any_order_and_repetition_ends_the_same(tmp_path_factory: pytest.TempPathFactory, order: list[str]) -> None:
    made = {"same 1": same("1"), "same 2": same("2"), "cross 1": cross("3"), "cross 2": cross("4")}
    one = World(SqliteLedger(tmp_path_factory.mktemp("one") / "ledger.db"))
    for name in [*order, *made]:
        one.instance(Mode.ENFORCE).handle(made[name])
    assert one.registry.writes == 1
    agent, deployer = f"serviceAccount:{AGENT}", f"serviceAccount:{DEPLOYER}"
    assert one.counts() == sorted([(REPOSITORY, agent, 0), (REPOSITORY, deployer, 2), (SAME_REPOSITORY, deployer, 2)])
    one.check_trail()
