"""A flood of denials from one project: what is opened beyond the hour's limit is whole on record, and marked."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediate.decisions.policy import Mode
from remediate.entries.denial import Denial, Deploy
from remediate.ledger.interface import Cursor, Filter
from remediate.ledger.opening import open_ledger
from remediate.records.gathering import UNKNOWN, Group, group_named, group_of
from remediate.records.remediation import Remediation
from remediate.records.results import Limits
from remediate.records.states import State
from tests.audit_entries import activity, bare_text, denial, user_text
from tests.firestore_fixture import EACH_LEDGER
from tests.service.helpers import Crash, same
from tests.service.world import NOON, REVIEWER, SAME_IMAGE, World

LIMITS = Limits(proposals_an_hour=3)
NAME = "2026-11-23T12/shop-frontend"


def denied(number: int, *, project: str = "shop-frontend", insert_id: str = "") -> Denial:
    """A denial of an image in the deploying project's registry, for a member of its own."""
    email = f"deployer-{number}@shop-frontend.iam.gserviceaccount.com"
    text = user_text(SAME_IMAGE)
    return denial(
        activity(text, images=(SAME_IMAGE,), email=email, project=project, insert_id=insert_id or f"{project}-{number}")
    )


def open_remediation(world: World, numbers: range, project: str = "shop-frontend") -> list[Remediation]:
    instance = world.instance(limits=LIMITS)
    found = [instance.handle(denied(number, project=project)).remediation for number in numbers]
    return [record for record in found if record]


def marks(records: list[Remediation]) -> list[str]:
    return [record.tally.gathered for record in records]


def test_what_one_project_opens_beyond_the_limit_is_gathered_and_another_projects_is_not(world: World) -> None:
    assert marks(open_remediation(world, range(5))) == ["", "", "", NAME, NAME]
    assert marks(open_remediation(world, range(5, 7), "shop-backend")) == ["", ""]
    assert len(world.records()) == 7
    world.check_trail()


def test_the_next_hour_has_places_of_its_own(world: World) -> None:
    open_remediation(world, range(4))
    world.now += timedelta(minutes=59)
    assert marks(open_remediation(world, range(4, 5))) == [NAME]
    world.now += timedelta(minutes=1)
    assert marks(open_remediation(world, range(5, 9))) == ["", "", "", "2026-11-23T13/shop-frontend"]


def test_a_second_delivery_or_another_denial_of_the_same_takes_no_place(world: World) -> None:
    instance = world.instance(limits=LIMITS)
    for _ in range(3):
        instance.handle(denied(0))
    for again in range(3):
        instance.handle(denied(0, insert_id=f"again-{again}"))
    assert marks(open_remediation(world, range(1, 4))) == ["", "", NAME]


def test_what_is_opened_again_and_again_takes_a_place_each_time(world: World) -> None:
    instance = world.instance(limits=replace(LIMITS, lapse_after=timedelta(minutes=1)))
    seen = []
    for cycle in range(5):
        record = instance.handle(denied(0, insert_id=str(cycle))).remediation
        assert record
        seen.append((record.lifecycle.cycle, bool(record.tally.gathered)))
        world.now += timedelta(minutes=2)
        list(instance.sweep())
    assert seen == [(1, False), (2, False), (3, False), (4, True), (5, True)]


def test_refusals_are_bounded_as_proposals_are_and_take_nothing_from_them(world: World) -> None:
    instance = world.instance(limits=LIMITS)
    refused = []
    for number in range(5):
        text = bare_text(f"projects/other-images/locations/us/repositories/r{number}")
        record = instance.handle(denial(activity(text, images=(), insert_id=f"refused-{number}"))).remediation
        assert record
        refused.append(record)
    assert {each.state for each in refused} == {State.REFUSED}
    assert marks(refused) == ["", "", "", NAME, NAME]
    assert marks(open_remediation(world, range(4))) == ["", "", "", NAME]


def test_a_predicted_proposal_takes_a_place_of_its_denials_project(world: World) -> None:
    instance = world.instance(limits=LIMITS)
    for number in range(4):
        instance.handle(denial(activity(email=f"deployer-{number}@example.com", insert_id=str(number))))
    records = world.ledger.find(Filter())
    assert len(records) == 5  # four deployers, and the one service agent
    assert sorted(marks(records)) == ["", "", "", NAME, NAME]


def test_an_approval_takes_it_out_of_its_group_and_a_rejection_leaves_it(world: World) -> None:
    *_, one, two = open_remediation(world, range(5))
    instance = world.instance(limits=LIMITS)
    assert instance.approve(one.id, actor=REVIEWER).remediation.tally.gathered == ""
    assert instance.reject(two.id, actor=REVIEWER, note="no").tally.gathered == NAME
    world.check_trail()


def test_a_rules_grant_is_bounded_by_the_limits_of_grants_alone(world: World) -> None:
    record = world.instance(Mode.ENFORCE, limits=replace(LIMITS, proposals_an_hour=0)).handle(same()).remediation
    assert record
    assert (record.state, record.tally.gathered) == (State.GRANTED, "")


@pytest.mark.parametrize("crashes", [1, 3])
def test_a_crash_between_the_place_and_the_record_takes_no_second_place(world: World, crashes: int) -> None:
    class Dying:
        """A ledger whose process dies before it stores anything."""

        def __getattr__(self, name: str) -> object:
            return getattr(world.ledger, name)

        def commit(self, *_: object, **__: object) -> None:
            raise Crash

    for _ in range(crashes):
        with pytest.raises(Crash):
            world.instance(ledger=Dying(), limits=LIMITS).handle(denied(0))
    assert world.records() == {}
    assert marks(open_remediation(world, range(4))) == ["", "", "", NAME]


def _handle(url: str, start: Barrier, numbers: range) -> None:
    instance = World(open_ledger(url)).instance(limits=Limits(proposals_an_hour=7))
    start.wait()
    for number in numbers:
        instance.handle(denied(number))


@pytest.mark.slow
@EACH_LEDGER
def test_two_processes_agree_on_who_has_a_place(ledger_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    each = (range(15), range(10, 25))  # five are delivered to both
    processes = [context.Process(target=_handle, args=(ledger_url, start, numbers)) for numbers in each]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
    assert [process.exitcode for process in processes] == [0, 0]
    records = open_ledger(ledger_url).find(Filter(), limit=100)
    assert len(records) == 25
    assert sorted(marks(records)) == [""] * 7 + [NAME] * 18


@EACH_LEDGER
def test_each_ledger_finds_a_group_and_what_is_in_none(world: World) -> None:
    open_remediation(world, range(9))
    world.now += timedelta(hours=1)
    open_remediation(world, range(9, 13))
    ledger, later = world.ledger, "2026-11-23T13/shop-frontend"
    assert dict(ledger.groups(State.PROPOSED, limit=9, most=99)) == {later: 1, NAME: 6}
    assert list(ledger.groups(None, limit=9, most=99)) == [later, NAME]
    assert dict(ledger.groups(State.PROPOSED, limit=1, most=99)) == {later: 1}
    assert ledger.groups(State.PROPOSED, limit=2, most=4)[NAME] == 5
    assert not ledger.groups(State.REJECTED, limit=9, most=99)
    for waiting in (True, False):
        found: list[str] = []
        page = ledger.page(Filter((State.PROPOSED,), gathered=NAME), limit=4, longest_waiting=waiting)
        while True:
            found += [each.id for each in page.records]
            if not page.more:
                break
            last = page.records[-1]
            after = Cursor(last.lifecycle.updated if waiting else last.tally.last_seen, last.id)
            page = ledger.page(Filter((State.PROPOSED,), gathered=NAME), limit=4, after=after, longest_waiting=waiting)
        assert len(found) == len(set(found)) == 6
        assert len(ledger.page(Filter((State.PROPOSED,), gathered=""), longest_waiting=waiting).records) == 6
    assert len(ledger.page(Filter(gathered=NAME)).records) == 6
    assert len(ledger.page(Filter(gathered=NAME, member="deployer-7")).records) == 1
    assert len(ledger.page(Filter()).records) == 13
    assert list(ledger.index_mismatches()) == []


@given(st.text(max_size=200), st.text(max_size=200))
def test_whatever_names_a_project_makes_a_group_that_is_found_by_its_name(project: str, number: str) -> None:
    named = replace(denied(0), deploy=Deploy(project=project or None, number=number or None))
    group = group_of(named, datetime(2026, 11, 23, 12, 59, 59, tzinfo=UTC))
    assert group_named(group.name) == group
    assert group.begins == NOON
    assert group.project in (project, number, UNKNOWN)


@pytest.mark.parametrize(
    "name", ["", "x", "2026-11-23T12", "2026-11-23T12/", "2026-13-45T99/p", "2026-11-23T12/p\n", "2026-11-23T12/<b>"]
)
def test_what_is_no_groups_name_is_none(name: str) -> None:
    assert group_named(name) is None


def test_a_group_ends_where_the_next_hour_begins() -> None:
    assert Group(NOON, "p").ends == NOON + timedelta(hours=1)
