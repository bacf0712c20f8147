"""What one atomic step carries with it: notices, events, the proof of its trail; and what a fault leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from remediate.decisions.policy import Mode
from remediate.errors import Conflict, LedgerFault, TerminalFault, TransientFault
from remediate.iam.allow_policy import Binding
from remediate.iam.grant import ROLE
from remediate.reasons import Reason
from remediate.records.lifecycle import transition, with_pending_removal
from remediate.records.outbox import OutboxMessage
from remediate.records.remediation import Remediation, TrailRecord
from remediate.records.results import Limits
from remediate.records.states import State
from remediate.times import to_rfc3339
from tests.audit_entries import REPOSITORY
from tests.fakes import Heard
from tests.ledger.helpers import told
from tests.service.helpers import DAY, MEMBER, Crash, Overlaid, Registry, crash, cross, proposed, same, state
from tests.service.world import NOON, REVIEWER, World


class Notifies:
    """A Notifier that keeps what it is asked, and gives one message for each."""

    def __init__(self, *messages: OutboxMessage) -> None:
        self.messages = messages
        self.asked: list[tuple[Remediation, tuple[TrailRecord, ...], Reason | None]] = []
        self.reminded: list[Remediation] = []
        self.flushed = 0
        self.look_up: Callable[[str], Remediation | None] = lambda _: None

    def parcels(
        self,
        record: Remediation,
        trail: Sequence[TrailRecord],
        *,
        brake: Reason | None,
        look_up: Callable[[str], Remediation | None],
    ) -> Sequence[OutboxMessage]:
        self.asked.append((record, tuple(trail), brake))
        self.look_up = look_up
        return self.messages

    def reminders(self, record: Remediation) -> Sequence[OutboxMessage]:
        self.reminded.append(record)
        return self.messages

    def flush(self) -> None:
        self.flushed += 1


def waiting(world: World) -> list[str]:
    return [each.id for each in world.ledger.waiting("slack", to_rfc3339(NOON + 365 * DAY), 100)]


def stored(world: World, ident: str) -> Remediation:
    found = world.ledger.get(ident)
    assert found
    return found


def test_a_step_is_stored_with_its_notices_and_they_are_sent(world: World) -> None:
    notifier, heard = Notifies(told(0)), Heard()
    record = world.instance(notifier=notifier, events=heard).handle(cross()).remediation
    assert record
    steps = [step for each in world.ledger.ids((State.PROPOSED,)) for step in world.ledger.trail(each)]
    assert sorted(step.hash for step in heard.transitions) == sorted(step.hash for step in steps)
    assert {(asked.id, tuple(step.hash for step in trail), brake) for asked, trail, brake in notifier.asked} == {
        (step.remediation, (step.hash,), None) for step in steps
    }
    assert (waiting(world), notifier.flushed) == ([told(0).id], 2)
    assert notifier.look_up(record.id) == stored(world, record.id)


def test_where_there_is_nothing_to_tell_nothing_is_sent(world: World) -> None:
    notifier = Notifies()
    world.instance(notifier=notifier).handle(cross())
    list(world.instance(notifier=notifier).sweep())
    assert (waiting(world), notifier.flushed) == ([], 0)
    assert sorted(each.id for each in notifier.reminded) == sorted(world.ledger.ids((State.PROPOSED,)))


def test_a_rate_limit_is_told_with_the_step_that_it_held(world: World) -> None:
    notifier = Notifies()
    world.instance(Mode.ENFORCE, notifier=notifier, limits=Limits(grants_an_hour=0)).handle(same())
    assert [brake for _, _, brake in notifier.asked] == [Reason.BRAKE]


def test_a_reminder_waits_in_the_outbox(world: World) -> None:
    proposed(world)
    list(world.instance(notifier=Notifies(told(3))).sweep())
    assert waiting(world) == [told(3).id]


def test_a_record_that_keeps_changing_is_tried_again_later(world: World) -> None:
    attempts: list[int] = []

    def conflict(*_: Any, **__: Any) -> None:
        attempts.append(1)
        raise Conflict("another was faster")

    record = proposed(world)
    with pytest.raises(TransientFault, match="other processes kept changing the record; try again"):
        world.instance(ledger=Overlaid(world.ledger, commit=conflict)).reject(record.id, actor=REVIEWER, note="no")
    assert len(attempts) == 50


# What its trail does not prove


def without_trail(world: World) -> Overlaid:
    return Overlaid(world.ledger, trail=lambda *_: iter(()))


def test_no_transition_follows_a_broken_trail_though_a_denial_is_still_counted(world: World) -> None:
    record = proposed(world)
    broken = world.instance(ledger=without_trail(world))
    with pytest.raises(LedgerFault, match="hash chain"):
        broken.reject(record.id, actor=REVIEWER, note="no")
    assert state(world, record.id) is State.PROPOSED
    broken.handle(cross("2"))
    assert stored(world, record.id).tally.denials == 2


def test_what_a_broken_trail_says_was_approved_is_not_written(world: World) -> None:
    record = proposed(world)
    with pytest.raises(Crash):
        world.instance(registry=Registry(world, add_reader=crash)).approve(record.id, actor=REVIEWER)
    faults = [each.fault for each in world.instance(ledger=without_trail(world)).sweep() if each.ident == record.id]
    assert "hash chain" in faults[0]
    assert (world.registry.writes, state(world, record.id)) == (0, State.APPROVED)


def test_what_a_broken_trail_says_was_granted_is_not_revoked(world: World) -> None:
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER)
    with pytest.raises(LedgerFault, match="hash chain"):
        world.instance(ledger=without_trail(world)).revoke(record.id, actor=REVIEWER, note="no")
    assert world.registry.readers(REPOSITORY) == [MEMBER]
    assert stored(world, record.id).lifecycle.ending is None


def test_an_end_that_a_broken_trail_announces_is_not_carried_out(world: World) -> None:
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER)
    with pytest.raises(Crash):
        world.instance(registry=Registry(world, remove_reader=crash)).revoke(record.id, actor=REVIEWER, note="no")
    faults = [each.fault for each in world.instance(ledger=without_trail(world)).sweep() if each.ident == record.id]
    assert "hash chain" in faults[0]
    assert world.registry.readers(REPOSITORY) == [MEMBER]
    list(world.instance().sweep())
    assert (world.registry.readers(REPOSITORY), state(world, record.id)) == ([], State.REVOKED)


# What a fault, or another instance, leaves behind


def test_a_final_no_to_the_write_is_recorded_in_googles_words(world: World) -> None:
    record = proposed(world)
    world.registry.refuse_writes = True
    done = world.instance().approve(record.id, actor=REVIEWER)
    assert (done.remediation.state, done.written) == (State.FAILED, False)
    assert [step.note for step in world.ledger.trail(record.id)][-1].startswith("setIamPolicy: 400")


@pytest.mark.parametrize("there", [False, True])
def test_the_trail_says_who_put_the_member_there(world: World, there: bool) -> None:
    record = proposed(world)
    if there:
        world.registry.policies[REPOSITORY].append(Binding(ROLE, (MEMBER,)))
    world.instance().approve(record.id, actor=REVIEWER)
    note = [step.note for step in world.ledger.trail(record.id)][-1]
    assert note.startswith("found in the binding" if there else "policy etag ")


def test_a_member_that_is_wanted_again_by_now_is_not_taken_out(world: World) -> None:
    record = proposed(world)

    def move(*states: State) -> None:
        for each in states:
            now = stored(world, record.id)
            after, step = transition(now, each, actor=f"user:{REVIEWER}", now=world.now, added_by_us=True)
            world.ledger.commit(after, trail=[step])

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        done = world.registry.add_reader(*args, **kwargs)
        move(State.REFUSED)
        return done

    def wanted_again(*args: Any, **kwargs: Any) -> Any:
        move(State.PROPOSED, State.APPROVED)
        return world.registry.remove_reader(*args, **kwargs)

    slow = world.instance(registry=Registry(world, add_reader=overtaken, remove_reader=wanted_again))
    done = slow.approve(record.id, actor=REVIEWER)
    assert (done.written, world.registry.readers(REPOSITORY)) == (False, [MEMBER])


def test_an_end_that_another_instance_called_off_is_not_called_off_again(world: World) -> None:
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER)
    versions: list[int] = []

    def refused(*_: Any, **__: Any) -> None:
        world.ledger.commit(with_pending_removal(stored(world, record.id), None))
        versions.append(stored(world, record.id).storage.version)
        raise TerminalFault("setIamPolicy: 403")

    with pytest.raises(TerminalFault):
        world.instance(registry=Registry(world, remove_reader=refused)).revoke(record.id, actor=REVIEWER, note="no")
    assert (state(world, record.id), stored(world, record.id).lifecycle.ending) == (State.GRANTED, None)
    assert [stored(world, record.id).storage.version] == versions


def test_a_revocation_that_another_one_overtook_announces_nothing(world: World) -> None:
    record = proposed(world)
    world.instance().approve(record.id, actor=REVIEWER)
    overtaken: list[int] = []

    def trail(ident: str | None = None) -> Any:
        if not overtaken:
            overtaken.append(1)
            world.instance().revoke(record.id, actor=REVIEWER, note="first")
        return world.ledger.trail(ident)

    late = world.instance(ledger=Overlaid(world.ledger, trail=trail))
    assert late.revoke(record.id, actor="bo@example.org", note="second").state is State.REVOKED
    assert stored(world, record.id).lifecycle.ending is None
    assert [step.note for step in world.ledger.trail(record.id)][-1] == "first"
