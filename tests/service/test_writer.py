"""One process records what is due, another one, the writer, carries it out; the record by itself proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediate.decisions.policy import Mode
from remediate.errors import Refused, TerminalFault, TransientFault
from remediate.iam.allow_policy import Binding
from remediate.iam.grant import ROLE
from remediate.reasons import Reason
from remediate.records import lifecycle
from remediate.records.approval_count import key
from remediate.records.hash_chain import digest
from remediate.records.remediation import Remediation
from remediate.records.results import Limits
from remediate.records.states import Ending, State
from remediate.records.trail_verification import broken_trail
from remediate.service.handing_over import await_outcome
from remediate.service.remediator import Remediator
from remediate.service.reviewers import Reviewers
from tests.audit_entries import DEPLOYER, REPOSITORY, activity, denial, user_text
from tests.fakes import MemoryLogs
from tests.records.changed import with_fields
from tests.service.helpers import Overlaid, Registry, approved_by_a_rule, cross, proposed
from tests.service.world import REVIEWER, SAME_IMAGE, World

MEMBER = f"serviceAccount:{DEPLOYER}"
KEY = f"user:{REVIEWER}"


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("only the writer changes a policy")


class Pages:
    """The pages' process: no policy write is possible, and `woken` are the remediations that it woke the writer for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.woken: list[str] = []
        self.service: Remediator = world.instance(
            registry=Registry(world, add_reader=never, remove_reader=never), wake=self.woken.append
        )


def stored(world: World, record: Remediation) -> Remediation:
    found = world.ledger.get(record.id)
    assert found
    return found


def approved(world: World, pages: Pages) -> Remediation:
    record = proposed(world)
    done = pages.service.approve(record.id, actor=REVIEWER)
    assert (done.remediation.state, done.written) == (State.APPROVED, False)
    assert pages.woken == [record.id]
    assert world.registry.writes == 0
    return done.remediation


def granted(world: World) -> Remediation:
    record = proposed(world)
    assert world.instance().approve(record.id, actor=REVIEWER).written
    return stored(world, record)


def test_an_approval_is_recorded_and_the_writer_grants(world: World) -> None:
    record = approved(world, Pages(world))
    done = world.instance().carry_out(record.id)
    assert done
    assert (done.remediation.state, done.written) == (State.GRANTED, True)
    assert world.registry.readers(REPOSITORY) == [MEMBER]
    world.check_trail()


def test_what_no_message_woke_the_writer_for_the_sweep_carries_out(world: World) -> None:
    record = approved(world, Pages(world))
    assert [each.remediation for each in world.instance().sweep()] == [stored(world, record)]
    assert stored(world, record).state is State.GRANTED


def test_a_second_wake_up_does_nothing(world: World) -> None:
    record = approved(world, Pages(world))
    writer = world.instance()
    assert writer.carry_out(record.id)
    again = writer.carry_out(record.id)
    assert again
    assert (again.written, world.registry.writes) == (False, 1)


def test_a_wake_up_for_nothing_or_an_open_proposal_grants_nothing(world: World) -> None:
    record = proposed(world)
    assert world.instance().carry_out("no-such-remediation") is None
    done = world.instance().carry_out(record.id)
    assert done
    assert (done.remediation.state, world.registry.writes) == (State.PROPOSED, 0)


def test_a_repeated_approval_wakes_the_writer_again(world: World) -> None:
    pages = Pages(world)
    record = approved(world, pages)
    assert pages.service.approve(record.id, actor=REVIEWER).remediation.state is State.APPROVED
    assert pages.woken == [record.id, record.id]


# The state `approved` proves nothing


def forged(world: World, who: str) -> Remediation:
    """A record that somebody with the ledger's rights, and without a reviewer, made `approved`."""
    record = proposed(world)
    moved = lifecycle.transition(record, State.APPROVED, actor=who, now=world.now, added_by_us=True)
    return world.ledger.commit(moved[0], trail=(moved[1],))


def not_in_the_log(_: World) -> dict[str, Any]:
    return {"logs": MemoryLogs()}


def other_reviewers(_: World) -> dict[str, Any]:
    return {"reviewers": Reviewers(("bo@example.org",))}


def own_service(_: World) -> dict[str, Any]:
    return {"reviewers": Reviewers(service=(KEY,))}


def unseen(world: World) -> dict[str, Any]:
    return {
        "projects": Overlaid(
            world.projects, find=lambda name: None if name == "platform-images" else world.projects.find(name)
        )
    }


def not_opted_in(_: World) -> dict[str, Any]:
    return {"opt_in_tag": "400000000001/remediate/yes"}


def gone(world: World) -> dict[str, Any]:
    del world.registry.policies[REPOSITORY]
    return {}


@pytest.mark.parametrize("change", [not_in_the_log, other_reviewers, own_service, unseen, not_opted_in, gone])
def test_the_writer_decides_again(world: World, change: Callable[[World], dict[str, Any]]) -> None:
    record = approved(world, Pages(world))
    world.now += timedelta(minutes=5)
    writer = world.instance(**change(world))
    done = writer.carry_out(record.id)
    assert done
    assert done.remediation.state in (State.PROPOSED, State.REFUSED)
    assert world.registry.writes == 0
    world.check_trail()


@pytest.mark.parametrize("who", [f"user:{DEPLOYER}", MEMBER, "user:eve@evil.example", "rule:same project", "remediate"])
def test_a_forged_approval_is_not_carried_out(world: World, who: str) -> None:
    record = forged(world, who)
    writer = world.instance(Mode.ENFORCE, reviewers=Reviewers((KEY,)))
    done = writer.carry_out(record.id)
    assert done
    assert done.remediation.state is not State.GRANTED
    assert world.registry.writes == 0


def test_a_rules_approval_waits_while_something_holds_rules_back(world: World) -> None:
    record = approved_by_a_rule(world)
    dry = world.instance(Mode.DRY_RUN).carry_out(record.id)
    assert dry
    assert (dry.remediation.state, world.registry.writes) == (State.APPROVED, 0)
    done = world.instance(Mode.ENFORCE).carry_out(record.id)
    assert done
    assert done.remediation.state is State.GRANTED


# Removals


def test_a_revocation_is_recorded_and_the_writer_removes(world: World) -> None:
    record = granted(world)
    pages = Pages(world)
    done = pages.service.revoke(record.id, actor=REVIEWER, note="over")
    assert (done.state, done.lifecycle.ending) == (State.GRANTED, Ending(State.REVOKED, f"user:{REVIEWER}", "over"))
    assert pages.woken == [record.id]
    with pytest.raises(TransientFault, match="is being revoked"):
        pages.service.approve(record.id, actor=REVIEWER)
    removed = world.instance().carry_out(record.id)
    assert removed
    assert removed.remediation.state is State.REVOKED
    assert world.registry.readers(REPOSITORY) == []
    world.check_trail()


@pytest.mark.parametrize("state", [State.REVOKED, State.EXPIRED])
def test_a_forged_removal_is_cancelled(world: World, state: State) -> None:
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER, max_duration=timedelta(days=1))
    record, ending = stored(world, record), Ending(state, "user:eve@evil.example", "x")
    world.ledger.commit(lifecycle.with_pending_removal(record, ending), trail=())
    done = world.instance(reviewers=Reviewers((KEY,))).carry_out(record.id)
    assert done
    assert (done.remediation.state, done.remediation.lifecycle.ending) == (State.GRANTED, None)
    assert world.registry.readers(REPOSITORY) == [MEMBER]


def test_a_removal_that_google_refuses_leaves_the_grant(world: World) -> None:
    record = granted(world)
    pages = Pages(world)
    pages.service.revoke(record.id, actor=REVIEWER, note="over")
    world.registry.policies[REPOSITORY].append(Binding(ROLE, ("user:x@example.com",), conditional=True))
    assert world.instance().carry_out(record.id)
    assert stored(world, record).state is State.REVOKED


# The pages wait


def test_the_pages_wait_until_it_is_done_and_no_longer(world: World) -> None:
    record = approved(world, Pages(world))
    now = [0.0]
    paused: list[float] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        now[0] += seconds
        if len(paused) == 3:
            world.instance().carry_out(record.id)

    [done] = await_outcome(world.ledger, [record], 8, monotonic=lambda: now[0], pause=pause)
    assert (done.state, len(paused)) == (State.GRANTED, 3)


def test_the_pages_wait_no_longer_than_their_patience(world: World) -> None:
    record = approved(world, Pages(world))
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    [done] = await_outcome(world.ledger, [record], 8, monotonic=lambda: now[0], pause=pause)
    assert (done.state, 8 <= now[0] < 9) == (State.APPROVED, True)


def test_one_process_alone_waits_for_nobody(world: World) -> None:
    record = proposed(world)
    service = world.instance()
    assert not service.hands_over
    assert service.outcome([record]) == [record]
    with pytest.raises(Refused):
        service.revoke(record.id, actor=REVIEWER, note="never granted")
    assert Reason.TERMINAL_ANSWER not in stored(world, record).reasons
    world.instance().handle(cross("2"))


# A rule's approval passes all that a new denial has to pass


def approved_by(world: World, insert_id: str, email: str, rule: str = "same project") -> Remediation:
    """A record that somebody with the ledger's rights approved in the name of a rule."""
    entry = denial(activity(user_text(SAME_IMAGE), images=(SAME_IMAGE,), insert_id=insert_id, email=email))
    record = world.instance().handle(entry).remediation
    assert record
    moved, step = lifecycle.transition(record, State.APPROVED, actor=f"rule:{rule}", now=world.now, added_by_us=True)
    return world.ledger.commit(moved, trail=(step,))


def test_forged_approvals_by_a_rule_get_past_no_hourly_limit(world: World) -> None:
    forged_ = [
        approved_by(world, str(number), f"deployer-{number}@shop-frontend.iam.gserviceaccount.com")
        for number in range(3)
    ]
    writer = world.instance(Mode.ENFORCE, limits=Limits(grants_an_hour=1))
    for each in forged_:
        writer.carry_out(each.id)
    assert world.registry.writes == 1


def test_a_step_that_no_remediation_takes_is_a_broken_trail(world: World) -> None:
    record = proposed(world)
    rejected = world.instance().reject(record.id, actor=REVIEWER, note="no")
    steps = list(world.ledger.trail(record.id))
    jump = replace(steps[-1], seq=3, before=State.REJECTED, after=State.APPROVED, previous=steps[-1].hash)
    jump = replace(jump, hash=digest(jump))
    told = broken_trail(record.id, with_fields(rejected, trail=3, trail_hash=jump.hash), [*steps, jump])
    assert told == "record 3 goes from rejected to approved, which no step does here"


def test_a_person_and_their_workforce_identity_are_one_approver() -> None:
    federated = "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/ana@example.com"
    assert key(federated) == key("user:ana@example.com") == key("user:ANA@example.com")
    assert key("platform-lead@example.com")  # a forged approver without a kind


def test_waiting_raises_nothing_and_keeps_what_cannot_be_read(world: World) -> None:
    record = approved(world, Pages(world))
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    def broken(_: str) -> Any:
        raise TransientFault("the ledger did not answer")

    ledger: Any = Overlaid(world.ledger, get=broken)
    assert await_outcome(ledger, [record], 8, monotonic=lambda: now[0], pause=pause) == [record]


def test_a_rules_approval_that_google_refuses_to_look_up_is_a_fault_and_no_refusal(world: World) -> None:
    record = approved_by_a_rule(world)

    def rejected(*_: Any) -> Any:
        raise TerminalFault("get projects/shop-frontend/...: 400 Invalid argument")

    blind = Registry(world, describe=rejected)
    with pytest.raises(TerminalFault, match="400 Invalid argument"):
        world.instance(Mode.ENFORCE, registry=blind).carry_out(record.id)
    assert stored(world, record).state is State.APPROVED
