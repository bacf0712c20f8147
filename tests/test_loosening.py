"""Loosening the mode takes two people or an operator; nobody profits from a switch of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediate.audit import broken_switches
from remediate.errors import Refused
from remediate.modes import (
    EVERYWHERE,
    OPEN_FOR,
    POLICY,
    Loosening,
    ModeChange,
    Modes,
    Place,
    effective,
    loosened_by,
    loosens,
    open_request,
    policy_confirmed,
    switched,
)
from remediate.policy import Mode, Outcome
from remediate.policyfile import parse_policy
from remediate.reasons import Reason
from remediate.reviewers import Reviewers
from tests.entries import activity, denial, user_text
from tests.test_remediator import NOON, SAME_IMAGE, World, world

__all__ = ["world"]

ENFORCE, DRY_RUN = Mode.ENFORCE, Mode.DRY_RUN
ANA, BO = "ana@example.com", "bo@example.org"
NOBODY_ALONE = Reviewers()
OPERATED = Reviewers(operators=(f"user:{ANA}",))
SCOPES = [EVERYWHERE, "organizations/4", "folders/421", "projects/shop-frontend", "projects/other"]
PLACES = [
    Place(frozenset({"projects/shop-frontend", "projects/123", "folders/421", "organizations/4"})),
    Place(frozenset({"projects/other"}), whole=False),
    Place(frozenset()),
]
GRANTS = "rules: [{name: all, when: 'true', then: grant}]"


def asks(
    world: World, who: str, mode: Mode | None, scope: str = EVERYWHERE, reviewers: Reviewers = NOBODY_ALONE
) -> Modes:
    return world.instance(reviewers=reviewers).switch(scope, mode, actor=who, note=f"{who} says so")


def test_enforce_waits_for_a_second_person(world: World) -> None:
    assert asks(world, ANA, ENFORCE).switches == {}
    assert asks(world, ANA.upper(), ENFORCE).version == 1  # the same person again changes nothing
    assert world.ledger.modes().switches == {}
    assert asks(world, BO, ENFORCE).switches == {EVERYWHERE: ENFORCE}
    changes = list(world.ledger.mode_changes())
    assert [(each.actor, each.requested, each.asked_by) for each in changes] == [
        (f"user:{ANA}", "enforce", changes[0].asked_by),
        (f"user:{BO}", changes[1].requested, f"user:{ANA}"),
    ]
    assert broken_switches(world.ledger.modes(), changes) is None


def test_taking_a_dry_run_away_waits_too_and_setting_one_does_not(world: World) -> None:
    assert asks(world, ANA, DRY_RUN, "folders/421").switches == {"folders/421": DRY_RUN}
    assert asks(world, ANA, None, "folders/421").switches == {"folders/421": DRY_RUN}
    assert asks(world, ANA, ENFORCE, "folders/421").switches == {"folders/421": DRY_RUN}
    assert asks(world, BO, None, "folders/421").switches == {"folders/421": DRY_RUN}  # ana asks for enforce now
    assert asks(world, ANA, None, "folders/421").switches == {}


def test_a_request_lapses_after_a_day(world: World) -> None:
    asks(world, ANA, ENFORCE)
    world.now += OPEN_FOR
    assert asks(world, BO, ENFORCE).switches == {}
    assert asks(world, ANA, ENFORCE).switches == {EVERYWHERE: ENFORCE}


def test_a_stricter_switch_withdraws_what_was_asked_for(world: World) -> None:
    asks(world, ANA, ENFORCE)
    asks(world, BO, DRY_RUN)
    assert open_request(world.ledger.modes(), EVERYWHERE, world.now) is None


def test_an_operator_needs_nobody_and_need_not_be_a_reviewer(world: World) -> None:
    operated = Reviewers(("example.org",), operators=(f"user:{ANA}",))
    assert asks(world, ANA, ENFORCE, reviewers=operated).switches == {EVERYWHERE: ENFORCE}
    with pytest.raises(Refused):
        asks(world, "mallory@example.net", ENFORCE, reviewers=operated)


def test_the_service_is_no_operator(world: World) -> None:
    with pytest.raises(Refused):
        asks(world, ANA, ENFORCE, reviewers=Reviewers(service=(f"user:{ANA}",), operators=(f"user:{ANA}",)))


_switches = st.lists(
    st.tuples(st.sampled_from(SCOPES), st.sampled_from([ENFORCE, DRY_RUN, None]), st.integers(0, 30)), max_size=12
)


@given(_switches, _switches, st.sampled_from([None, ENFORCE]))
def test_one_person_alone_never_makes_any_place_more_generous(
    before: list[tuple[str, Mode | None, int]], after: list[tuple[str, Mode | None, int]], configured: Mode | None
) -> None:
    modes, now = Modes(), datetime(2026, 1, 1, tzinfo=UTC)
    for scope, mode, hours in before:  # an operator sets the scene
        now += timedelta(hours=hours)
        found = switched(modes, scope, mode, actor="user:op@example.com", now=now, note="x", alone=True)
        modes = found[0] if found else modes
    generous = [effective(modes, configured, [place]) for place in PLACES]
    for scope, mode, hours in after:
        now += timedelta(hours=hours)
        found = switched(modes, scope, mode, actor=f"user:{ANA}", now=now, note="x", alone=False)
        modes = found[0] if found else modes
        places = [effective(modes, configured, [place]) for place in PLACES]
        for was, now_is in zip(generous, places, strict=True):
            if configured is None:
                assert not (was is DRY_RUN and now_is is ENFORCE)
        generous = places


@given(_switches)
def test_the_trail_leads_to_what_is_in_force_and_to_what_waits(steps: list[tuple[str, Mode | None, int]]) -> None:
    modes, now, changes = Modes(), NOON, list[ModeChange]()
    for number, (scope, mode, hours) in enumerate(steps):
        now += timedelta(hours=hours)
        actor = f"user:{(ANA, BO)[number % 2]}"
        if found := switched(modes, scope, mode, actor=actor, now=now, note="x", alone=False):
            modes = found[0]
            changes.append(found[1])
    assert broken_switches(modes, changes) is None
    if changes:
        assert broken_switches(replace(modes, policy="abc"), changes) is not None
    for scope, request in modes.asked.items():
        forged = {**modes.asked, scope: replace(request, actor="user:eve@example.com")}
        assert broken_switches(replace(modes, asked=forged), changes) is not None


def test_an_old_change_keeps_its_hash() -> None:
    found = switched(Modes(), EVERYWHERE, ENFORCE, actor=f"user:{ANA}", now=NOON, note="go", alone=True)
    assert found is not None
    assert found[1].hash == "4621736e0c78277432c3ba3ea6b6771c0050295135a9051e15846e6423919200"


def own(email: str, insert_id: str) -> dict[str, object]:
    return activity(user_text(SAME_IMAGE), images=(SAME_IMAGE,), email=email, insert_id=insert_id)


@pytest.mark.parametrize("who", [ANA, BO])
def test_nobody_profits_from_a_switch_of_their_own(world: World, who: str) -> None:
    asks(world, ANA, ENFORCE)
    asks(world, BO, ENFORCE)
    entry = own(who, "1")
    world.logs.written = lambda _: entry
    decision = world.instance(None).handle(denial(entry)).decision
    assert (decision.outcome, Reason.OWN_SWITCH in decision.reasons) == (Outcome.ASK, True)
    world.now += OPEN_FOR
    later = own(who, "2")
    world.logs.written = lambda _: later
    assert world.instance(None).handle(denial(later)).decision.outcome is Outcome.GRANT


def test_one_reviewer_who_asks_for_enforce_and_deploys_again_gets_nothing(world: World) -> None:
    asks(world, ANA, ENFORCE)
    entry = own(ANA, "1")
    world.logs.written = lambda _: entry
    assert world.instance(None).handle(denial(entry)).decision.outcome is Outcome.ASK
    assert world.registry.writes == 0


def test_a_loosening_bars_where_it_loosened() -> None:
    at = NOON.isoformat()
    modes = Modes(loosened=(Loosening("projects/other", (f"user:{ANA}",), at),))
    assert loosened_by(modes, [PLACES[0]], NOON) == frozenset()
    assert loosened_by(modes, [PLACES[0], PLACES[1]], NOON) == {f"user:{ANA}"}
    assert loosened_by(modes, [Place(frozenset(), whole=False)], NOON) == {f"user:{ANA}"}
    assert loosened_by(modes, [PLACES[1]], NOON + OPEN_FOR) == frozenset()


def test_a_policy_text_in_cloud_storage_grants_once_two_people_confirmed_it(world: World) -> None:
    remote = parse_policy(GRANTS, "gs://policies/policy.yaml")
    assert remote.needs_confirmation
    assert not parse_policy(GRANTS, "policy.yaml").needs_confirmation
    assert not parse_policy("rules: [{name: all, when: 'true', then: ask}]", "gs://p/policy.yaml").needs_confirmation

    def outcome(insert_id: str) -> tuple[Outcome, bool]:
        entry = own("github-deployer@shop-frontend.iam.gserviceaccount.com", insert_id)
        world.logs.written = lambda _: entry
        decision = world.instance(ENFORCE, rules=lambda: remote).handle(denial(entry)).decision
        return decision.outcome, Reason.POLICY_UNCONFIRMED in decision.reasons

    assert outcome("1") == (Outcome.ASK, True)
    service = world.instance(ENFORCE, rules=lambda: remote, reviewers=NOBODY_ALONE)
    assert service.confirm_policy(remote.digest, actor=ANA, note="read it").policy == ""
    assert service.confirm_policy(remote.digest, actor=ANA, note="again").policy == ""
    assert service.policy_to_confirm() == remote.digest
    assert service.confirm_policy(remote.digest, actor=BO, note="read it too").policy == remote.digest
    assert service.policy_to_confirm() is None
    assert outcome("2") == (Outcome.GRANT, False)
    assert broken_switches(world.ledger.modes(), list(world.ledger.mode_changes())) is None


def test_a_text_that_changed_meanwhile_is_asked_for_anew() -> None:
    first = policy_confirmed(Modes(), "a" * 12, actor=f"user:{ANA}", now=NOON, note="x", alone=False)
    assert first is not None
    second = policy_confirmed(first[0], "b" * 12, actor=f"user:{BO}", now=NOON, note="x", alone=False)
    assert second is not None
    assert (second[0].policy, second[0].asked[POLICY].wanted) == ("", "b" * 12)


def test_what_loosens() -> None:
    held = Modes({"folders/421": DRY_RUN, EVERYWHERE: ENFORCE})
    assert loosens(held, "folders/421", None)
    assert loosens(held, "projects/x", ENFORCE)
    assert not loosens(held, EVERYWHERE, None)
    assert not loosens(held, EVERYWHERE, DRY_RUN)
    assert not loosens(held, "folders/7", None)
