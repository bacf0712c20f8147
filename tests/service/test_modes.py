"""The switch at run time: what is in force where, the strictest wins, and an event obeys it at once."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediate.decisions.policy import Mode, Outcome
from remediate.errors import BadInput, Refused
from remediate.records.hash_chain import broken_link
from remediate.records.modes import EVERYWHERE, Modes, Place, effective, scope_of
from remediate.records.states import State
from remediate.service.reviewers import Reviewers
from tests.audit_entries import DEPLOYER
from tests.fakes import ORGANIZATION
from tests.service.helpers import Crash, Crashing, same
from tests.service.world import REVIEWER, SAME_REPOSITORY, World

DRY_RUN, ENFORCE = Mode.DRY_RUN, Mode.ENFORCE
HERE = Place(frozenset({"projects/shop", "projects/12", "folders/7", "organizations/4"}))
THERE = Place(frozenset({"projects/images", "folders/8", "organizations/4"}))


@pytest.mark.parametrize(
    ("switches", "configured", "places", "expected"),
    [
        ({}, None, [HERE], DRY_RUN),
        ({}, ENFORCE, [HERE], ENFORCE),
        ({}, ENFORCE, [], DRY_RUN),
        ({EVERYWHERE: ENFORCE}, DRY_RUN, [HERE], DRY_RUN),
        ({EVERYWHERE: ENFORCE}, None, [HERE], ENFORCE),
        ({EVERYWHERE: DRY_RUN}, ENFORCE, [HERE], DRY_RUN),
        ({"folders/7": ENFORCE}, None, [HERE], ENFORCE),
        ({"folders/7": ENFORCE}, None, [HERE, THERE], DRY_RUN),
        ({"projects/12": ENFORCE}, None, [HERE], ENFORCE),
        ({"organizations/4": ENFORCE, "folders/8": DRY_RUN}, None, [HERE], ENFORCE),
        ({"organizations/4": ENFORCE, "folders/8": DRY_RUN}, None, [HERE, THERE], DRY_RUN),
        ({"organizations/4": DRY_RUN, "folders/7": ENFORCE}, None, [HERE], DRY_RUN),
        ({"folders/9": DRY_RUN}, ENFORCE, [HERE], ENFORCE),
        ({"folders/9": DRY_RUN}, ENFORCE, [Place(HERE.scopes, whole=False)], DRY_RUN),
        ({"folders/9": ENFORCE}, None, [Place(HERE.scopes, whole=False)], DRY_RUN),
    ],
)
def test_the_strictest_wins(
    switches: dict[str, Mode], configured: Mode | None, places: list[Place], expected: Mode
) -> None:
    assert effective(Modes(switches), configured, places) is expected


_scopes = st.sampled_from([EVERYWHERE, "organizations/4", "folders/7", "folders/8", "projects/shop", "projects/images"])


@given(
    st.dictionaries(_scopes, st.sampled_from(Mode)),
    st.sampled_from([None, *Mode]),
    st.lists(st.sampled_from([HERE, THERE]), min_size=1),
    _scopes,
)
def test_one_more_dry_run_never_opens_anything(
    switches: dict[str, Mode], configured: Mode | None, places: list[Place], scope: str
) -> None:
    if effective(Modes(switches), configured, places) is DRY_RUN:
        assert effective(Modes({**switches, scope: DRY_RUN}), configured, places) is DRY_RUN
        assert effective(Modes(switches), DRY_RUN, places) is DRY_RUN


@pytest.mark.parametrize(
    "text", ["", "folders", "folders/x", "folders/", "organizations/example.com", "project/shop", "projects/"]
)
def test_what_is_no_scope_is_named_with_what_is_accepted(text: str) -> None:
    with pytest.raises(BadInput, match="is not a scope; accepted: organizations/NUMBER, folders/NUMBER or projects/ID"):
        scope_of(text)


def test_a_switch_is_obeyed_by_the_next_event(world: World) -> None:
    undecided = {"mode": None}
    first = world.instance(**undecided).handle(same("1"))
    assert first.decision.outcome is Outcome.ASK
    world.instance(**undecided).switch(f"organizations/{ORGANIZATION}", ENFORCE, actor=REVIEWER, note="pilot is over")
    assert world.instance(**undecided).handle(same("2")).written
    world.registry.policies[SAME_REPOSITORY] = []
    world.instance(**undecided).switch("projects/shop-frontend", DRY_RUN, actor=REVIEWER, note="an incident")
    assert world.instance(**undecided).handle(same("3")).decision.outcome is Outcome.ASK
    assert world.instance(ENFORCE).handle(same("4")).decision.outcome is Outcome.ASK
    world.instance(**undecided).switch("projects/shop-frontend", None, actor=REVIEWER, note="over")
    assert world.instance(DRY_RUN).handle(same("5")).decision.outcome is Outcome.ASK
    world.now += timedelta(days=31)  # what somebody took away, rules do not give back for a while
    assert world.instance(**undecided).handle(same("6")).written


def test_every_switch_is_on_the_trail_and_none_can_be_taken_off_it(world: World) -> None:
    world.instance().switch(EVERYWHERE, ENFORCE, actor=REVIEWER, note="go")
    world.instance().switch(EVERYWHERE, ENFORCE, actor=REVIEWER, note="go again: nothing changes")
    world.instance().switch(EVERYWHERE, DRY_RUN, actor=REVIEWER, note="stop")
    changes = list(world.ledger.mode_changes())
    assert [(each.actor, each.before, each.after, each.note) for each in changes] == [
        (f"user:{REVIEWER}", None, ENFORCE, "go"),
        (f"user:{REVIEWER}", ENFORCE, DRY_RUN, "stop"),
    ]
    assert broken_link(world.ledger.modes(), changes) is None
    assert broken_link(world.ledger.modes(), changes[:1]) is not None
    assert broken_link(world.ledger.modes(), changes[1:]) is not None


def test_only_a_reviewer_switches(world: World) -> None:
    with pytest.raises(Refused, match="is not a reviewer"):
        world.instance(reviewers=Reviewers(("example.org",))).switch(EVERYWHERE, ENFORCE, actor=REVIEWER, note="x")
    with pytest.raises(BadInput):
        world.instance().switch(EVERYWHERE, ENFORCE, actor="ana", note="x")
    assert world.ledger.modes() == Modes()


def test_what_a_rule_approved_is_not_carried_out_once_the_mode_is_dry_run(world: World) -> None:
    crashing = Crashing(world.registry, itertools.count(1), 3, after=False)
    with pytest.raises(Crash):
        world.instance(ENFORCE, registry=crashing).handle(same("1"))
    [record] = world.records().values()
    assert (record.state, record.lifecycle.approver) == (State.APPROVED, "rule:same project")
    assert list(world.instance(DRY_RUN).sweep()) == []
    assert world.registry.writes == 0
    [done] = world.instance(ENFORCE).sweep()
    assert done.remediation
    assert done.remediation.state is State.GRANTED
    assert world.registry.readers(SAME_REPOSITORY) == [f"serviceAccount:{DEPLOYER}"]
