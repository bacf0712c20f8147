"""A grant's end is announced, carried out and recorded, by whoever comes along; what is over, nobody writes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from remediate.cloud.interface import PolicyChange
from remediate.decisions.policy import Mode
from remediate.errors import Refused, TerminalFault
from remediate.records.remediation import Remediation
from remediate.records.states import State
from tests.audit_entries import REPOSITORY
from tests.service.helpers import DAY, MEMBER, Crash, Crashing, Registry, cross, proposed, state
from tests.service.world import REVIEWER, World

SECOND = "bo@example.org"


def granted(world: World, **approval: Any) -> Remediation:
    record = proposed(world)
    return world.instance().approve(record.id, actor=REVIEWER, **approval).remediation


def test_a_write_that_comes_after_the_revocation_is_not_made(world: World) -> None:
    record = proposed(world)
    before = list(world.registry.policies[REPOSITORY])

    def late(*args: Any, **kwargs: Any) -> PolicyChange:
        world.instance().approve(record.id, actor=REVIEWER)
        world.instance().revoke(record.id, actor=REVIEWER, note="no")
        return world.registry.add_reader(*args, **kwargs)

    done = world.instance(registry=Registry(world, add_reader=late)).approve(record.id, actor=REVIEWER)
    assert (done.remediation.state, done.written) == (State.REVOKED, False)
    assert (world.registry.policies[REPOSITORY], world.registry.writes) == (before, 2)
    world.check_trail()


def test_a_write_that_comes_between_the_removal_and_its_record_is_not_made(world: World) -> None:
    record = proposed(world)

    def late(*args: Any, **kwargs: Any) -> PolicyChange:
        def remove_and_wait(*those: Any, **more: Any) -> PolicyChange:
            done = world.registry.remove_reader(*those, **more)
            assert not world.registry.add_reader(*args, **kwargs).written
            return done

        world.instance().approve(record.id, actor=REVIEWER)
        slow = world.instance(registry=Registry(world, remove_reader=remove_and_wait))
        slow.revoke(record.id, actor=REVIEWER, note="no")
        return world.registry.add_reader(*args, **kwargs)

    world.instance(registry=Registry(world, add_reader=late)).approve(record.id, actor=REVIEWER)
    assert state(world, record.id) is State.REVOKED
    assert world.registry.readers(REPOSITORY) == []


def test_a_removal_that_comes_in_the_next_cycle_is_not_made(world: World) -> None:
    record = granted(world)

    def late(*args: Any, **kwargs: Any) -> PolicyChange:
        list(world.instance().sweep())  # finishes what was announced
        assert state(world, record.id) is State.REVOKED
        proposed(world, "2")
        world.instance().approve(record.id, actor=SECOND)
        return world.registry.remove_reader(*args, **kwargs)

    slow = world.instance(registry=Registry(world, remove_reader=late))
    with suppress(Refused):
        slow.revoke(record.id, actor=REVIEWER, note="no")
    assert state(world, record.id) is State.GRANTED
    assert world.registry.readers(REPOSITORY) == [MEMBER]
    world.check_trail()


def sweep(world: World, _: str) -> None:
    list(world.instance().sweep())


def deny(world: World, _: str) -> None:
    world.instance().handle(cross("2"))


def approve(world: World, ident: str) -> None:
    with pytest.raises(Refused):
        world.instance().approve(ident, actor=SECOND)


def revoke(world: World, ident: str) -> None:
    with suppress(Refused):
        world.instance().revoke(ident, actor=SECOND, note="mine")


@pytest.mark.parametrize("finish", [sweep, deny, approve, revoke])
def test_a_revocation_that_crashed_is_finished_in_the_name_of_whoever_began_it(
    world: World, finish: Callable[[World, str], None]
) -> None:
    record = granted(world)

    def crash(*args: Any, **kwargs: Any) -> None:
        world.registry.remove_reader(*args, **kwargs)
        raise Crash

    with pytest.raises(Crash):
        world.instance(registry=Registry(world, remove_reader=crash)).revoke(record.id, actor=REVIEWER, note="no")
    assert state(world, record.id) is State.GRANTED
    finish(world, record.id)
    ends = [(each.after, each.actor, each.note) for each in world.ledger.trail(record.id)][3:4]
    assert ends == [(State.REVOKED, f"user:{REVIEWER}", "no")]
    assert world.registry.readers(REPOSITORY) == []
    world.check_trail()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_crash_at_any_step_of_an_end_is_healed_by_the_next_sweep(world: World, end: str, after: bool) -> None:
    for at in itertools.count():
        record = granted(world, max_duration=DAY) if at == 0 else _again(world, at)
        counter = itertools.count()
        parts = {
            "registry": Crashing(world.registry, counter, at, after),
            "ledger": Crashing(world.ledger, counter, at, after),
        }
        if end == "expired":
            world.now += DAY
        with suppress(Crash):
            if end == "revoked":
                world.instance(Mode.DRY_RUN, **parts).revoke(record.id, actor=REVIEWER, note="no")
            else:
                list(world.instance(Mode.DRY_RUN, **parts).sweep())
        list(world.instance().sweep())
        if end == "revoked" and state(world, record.id) is State.GRANTED:  # it died before anything was recorded
            world.instance().revoke(record.id, actor=REVIEWER, note="no")
        assert state(world, record.id) == end
        assert world.registry.readers(REPOSITORY) == []
        last = list(world.ledger.trail(record.id))[-1]
        assert last.actor == (f"user:{REVIEWER}" if end == "revoked" else "remediate")
        world.check_trail()
        if next(counter) < at:
            assert at > 5
            return


def _again(world: World, number: int) -> Remediation:
    record = proposed(world, str(number + 1))
    return world.instance().approve(record.id, actor=REVIEWER, max_duration=DAY).remediation


def test_a_removal_that_google_refuses_leaves_the_grant_as_it_is(world: World) -> None:
    record = granted(world)

    def refused(*_: Any, **__: Any) -> None:
        raise TerminalFault("setIamPolicy: 403")

    with pytest.raises(TerminalFault):
        world.instance(registry=Registry(world, remove_reader=refused)).revoke(record.id, actor=REVIEWER, note="no")
    stored = world.ledger.get(record.id)
    assert stored
    assert (stored.state, stored.lifecycle.ending) == (State.GRANTED, None)
    assert world.registry.readers(REPOSITORY) == [MEMBER]
    world.instance().revoke(record.id, actor=REVIEWER, note="no")
    assert state(world, record.id) is State.REVOKED


def test_an_end_that_another_instance_called_off_is_not_recorded(world: World) -> None:
    record = granted(world)

    def refused(*_: Any, **__: Any) -> None:
        raise TerminalFault("setIamPolicy: 403")

    def overtaken(*args: Any, **kwargs: Any) -> PolicyChange:
        with suppress(TerminalFault, Refused):
            world.instance(registry=Registry(world, remove_reader=refused)).revoke(record.id, actor=SECOND, note="me")
        return world.registry.remove_reader(*args, **kwargs)

    slow = world.instance(registry=Registry(world, remove_reader=overtaken))
    with pytest.raises(Refused):
        slow.revoke(record.id, actor=REVIEWER, note="no")
    assert state(world, record.id) is State.GRANTED
    assert world.registry.readers(REPOSITORY) == [MEMBER]
    world.check_trail()


def test_somebody_who_comes_second_is_told(world: World) -> None:
    record = granted(world)
    world.instance().revoke(record.id, actor=REVIEWER, note="no")
    with pytest.raises(Refused, match=r"was revoked by platform-lead@example\.com"):
        world.instance().revoke(record.id, actor=SECOND, note="me too")
