"""The sweep of what is due alone: it does all of that, and asks Google Cloud about nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from remediate.decisions.policy import Mode
from remediate.errors import TransientFault
from remediate.ledger.interface import Ledger
from remediate.records.blocks import blocks_in
from remediate.records.modes import EVERYWHERE
from remediate.records.notice import NoticeKind
from remediate.records.results import Limits, Swept
from remediate.records.states import State
from tests.firestore_fixture import EACH_LEDGER
from tests.notify.scene import Scene
from tests.service.helpers import (
    ANA,
    DAY,
    HOUR,
    Crash,
    Overlaid,
    Registry,
    approved_by_a_rule,
    asks,
    cross,
    proposed,
    same,
    state,
)
from tests.service.world import REVIEWER, SAME_REPOSITORY, World

LAPSE = Limits().lapse_after


class Counting:
    """A part of the world that counts the calls of its methods."""

    def __init__(self, part: Any) -> None:
        self._part = part
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            return found(*arguments, **named)

        return call


def swept(world: World, **replaced: Any) -> dict[str, tuple[State | None, State]]:
    """What a sweep of what is due changes."""
    done: Iterator[Swept] = world.instance(**replaced).sweep(only_due=True)
    found = {}
    for each in done:
        assert each.remediation, each.fault
        found[each.remediation.id] = (each.before, each.remediation.state)
    return found


def granted(world: World, denied: Callable[[], Any], max_duration: timedelta | None = None) -> str:
    record = world.instance().handle(denied()).remediation
    assert record
    world.instance().approve(record.id, actor=REVIEWER, max_duration=max_duration)
    return str(record.id)


def test_no_policy_of_a_grant_that_stands_is_read_and_no_record_of_it(world: World) -> None:
    granted(world, cross)
    granted(world, same, max_duration=30 * DAY)
    world.now += DAY
    registry, ledger = Counting(world.registry), Counting(world.ledger)
    assert swept(world, registry=registry, ledger=ledger) == {}
    assert registry.calls == {}
    assert ledger.calls["get"] == 0
    assert list(world.instance(registry=registry).sweep()) == []
    assert registry.calls["has_reader"] == 2


def test_what_another_process_put_off_in_time_is_left_as_it_is(world: World) -> None:
    ident = granted(world, same)
    found_before = Overlaid(world.ledger, due=lambda *_: iter([ident]))
    registry = Counting(world.registry)
    assert swept(world, registry=registry, ledger=found_before) == {}
    assert registry.calls == {}


def test_a_blocked_proposal_waits_for_the_sweep_of_everything(world: World) -> None:
    project = SAME_REPOSITORY.split("/")[1]
    unseen = Overlaid(world.projects, find=lambda name: None if name == project else world.projects.find(name))
    record = world.instance(projects=unseen).handle(same()).remediation
    assert record
    assert blocks_in(record.reasons)
    world.now += LAPSE - HOUR
    seen = Counting(world.projects)
    assert swept(world, projects=seen) == {}
    assert seen.calls == {}
    assert world.ledger.get(record.id) == record
    list(world.instance(projects=seen).sweep())
    assert seen.calls["find"] > 0


def test_a_grant_ends_when_its_time_is_over_and_no_other_does(world: World) -> None:
    ends, stays = granted(world, cross, max_duration=HOUR), granted(world, same, max_duration=2 * HOUR)
    world.now += HOUR
    assert swept(world) == {ends: (State.GRANTED, State.EXPIRED)}
    assert state(world, stays) is State.GRANTED
    world.check_trail()


def test_a_removal_that_was_begun_is_finished(world: World) -> None:
    ident = granted(world, cross)

    def down(*_: Any, **__: Any) -> None:
        raise TransientFault("503")

    with pytest.raises(TransientFault):
        world.instance(registry=Registry(world, remove_reader=down)).revoke(ident, actor=REVIEWER, note="stop")
    assert swept(world) == {ident: (State.GRANTED, State.REVOKED)}
    world.check_trail()


def test_an_approval_without_its_write_is_carried_out(world: World) -> None:
    record = proposed(world)

    def dies(*_: Any, **__: Any) -> None:
        raise Crash

    with pytest.raises(Crash):
        world.instance(registry=Registry(world, add_reader=dies)).approve(record.id, actor=REVIEWER)
    assert swept(world) == {record.id: (State.APPROVED, State.GRANTED)}
    world.check_trail()


def test_an_approval_by_a_rule_without_its_write_is_carried_out_in_its_mode(world: World) -> None:
    record = approved_by_a_rule(world)
    assert swept(world) == {}
    assert swept(world, mode=Mode.ENFORCE) == {record.id: (State.APPROVED, State.GRANTED)}


def test_a_proposal_lapses_when_its_time_is_over(world: World) -> None:
    record = world.instance().handle(same()).remediation
    assert record
    world.now += LAPSE - timedelta(microseconds=1)
    assert swept(world) == {}
    world.now += timedelta(microseconds=1)
    assert swept(world) == {record.id: (State.PROPOSED, State.LAPSED)}


def test_a_switch_that_nobody_confirms_lapses(world: World) -> None:
    asks(world, ANA, Mode.ENFORCE)
    world.now += LAPSE
    assert EVERYWHERE in world.ledger.modes().asked
    assert swept(world) == {}
    assert world.ledger.modes().asked == {}


def test_a_fault_stops_no_other(world: World) -> None:
    ends, other = granted(world, cross, max_duration=HOUR), granted(world, same, max_duration=HOUR)
    world.now += HOUR

    def broken(ledger: Ledger) -> Any:
        class Broken(Counting):
            def get(self, ident: str) -> Any:
                if ident == ends:
                    raise TransientFault("not now")
                return ledger.get(ident)

        return Broken(ledger)

    found = list(world.instance(ledger=broken(world.ledger)).sweep(only_due=True))
    assert sorted(
        (each.ident or str(each.remediation and each.remediation.id), each.fault) for each in found
    ) == sorted([(ends, "not now"), (other, "")])


@EACH_LEDGER
@pytest.mark.parametrize(("lapse", "lead"), [(7 * DAY, DAY), (DAY, 12 * HOUR)])
def test_a_reminder_is_stored_when_it_is_due_and_not_before(ledger_url: str, lapse: timedelta, lead: timedelta) -> None:
    limits, days = Limits(lapse_after=lapse), {"REMEDIATE_LAPSE_DAYS": str(lapse.days)}
    scene = Scene(
        ledger_url, {"REMEDIATE_NOTIFY_TOPIC": "projects/remediate-test/topics/notices", **days}, limits=limits
    )
    [record] = scene.denied_at_home()
    moment = timedelta(microseconds=1)
    for wait, reminders in ((lapse - lead - moment, 0), (moment, 1), (lead - moment, 1)):
        scene.now += wait
        assert list(scene.remediator.sweep(only_due=True)) == []
        told = [each.notice.kind for each in scene.waiting("pubsub")]
        assert told.count(NoticeKind.LAPSING) == reminders
    scene.now += moment
    assert [each.before for each in scene.remediator.sweep(only_due=True)] == [State.PROPOSED]
    found = scene.ledger.get(record.id)
    assert found
    assert found.state is State.LAPSED
