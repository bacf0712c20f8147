"""Loosening the mode takes two people or an operator; nobody profits from a switch of their own."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediate.decisions.policy import Mode, Outcome
from remediate.decisions.policy_file import parse_policy
from remediate.errors import Refused
from remediate.reasons import Reason
from remediate.records.hash_chain import digest
from remediate.records.modes import (
    EVERYWHERE,
    OPEN_FOR,
    POLICY,
    Loosening,
    ModeChange,
    Modes,
    Place,
    applied,
    describe_change,
    effective,
    loosened_by,
    loosens,
    open_request,
    policy_confirmed,
    switched,
)
from remediate.records.states import State
from remediate.records.trail_verification import broken_switches
from remediate.service.reviewers import Reviewers
from remediate.times import to_rfc3339
from tests.audit_entries import activity, denial, user_text
from tests.fakes import Heard
from tests.firestore_fixture import EACH_LEDGER
from tests.service.helpers import ANA, BO, NOBODY_ALONE, Crash, Crashing, asks
from tests.service.world import NOON, SAME_IMAGE, World

ENFORCE, DRY_RUN = Mode.ENFORCE, Mode.DRY_RUN
OPERATED = Reviewers(operators=(f"user:{ANA}",))
SCOPES = [EVERYWHERE, "organizations/4", "folders/421", "projects/shop-frontend", "projects/other"]
PLACES = [
    Place(frozenset({"projects/shop-frontend", "projects/123", "folders/421", "organizations/4"})),
    Place(frozenset({"projects/other"}), whole=False),
    Place(frozenset()),
]
GRANTS = "rules: [{name: all, when: 'true', then: grant}]"


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


@pytest.mark.parametrize("switch", [None, DRY_RUN])
def test_a_stricter_switch_withdraws_what_was_asked_for(world: World, switch: Mode | None) -> None:
    """Also one that changes no switch: who says dry-run again in an incident means it."""
    asks(world, ANA, DRY_RUN) if switch else None
    asks(world, ANA, ENFORCE)
    after = asks(world, BO, switch)
    assert open_request(after, EVERYWHERE, world.now) is None
    assert asks(world, BO, switch).version == after.version
    assert asks(world, "cy@example.com", ENFORCE).switches.get(EVERYWHERE) is switch  # a request of their own
    changes = list(world.ledger.mode_changes())
    assert [each.ended for each in changes if isinstance(each.ended, str)] == ["withdrawn"]
    assert [describe_change(each) for each in changes[-2:]] == ["request withdrawn", "asked for enforce"]
    assert broken_switches(world.ledger.modes(), changes) is None


def test_a_request_of_one_who_left_the_reviewers_confirms_nothing(world: World) -> None:
    asks(world, ANA, ENFORCE)
    left = Reviewers(("example.org",))
    assert asks(world, BO, ENFORCE, reviewers=left).switches == {}
    assert [each.ended for each in world.ledger.mode_changes()][-1] == "replaced"


def test_a_sweep_records_that_a_request_lapsed(world: World) -> None:
    heard = Heard()
    asks(world, ANA, ENFORCE)
    asks(world, ANA, ENFORCE, "folders/421")
    service = world.instance(events=heard)
    assert list(service.sweep()) == []
    assert heard.transitions == []
    world.now += OPEN_FOR
    assert list(service.sweep()) == []
    assert list(service.sweep()) == []
    changes = list(world.ledger.mode_changes())
    assert heard.transitions == changes[2:]
    assert [(each.actor, each.scope, each.ended, each.after) for each in changes[2:]] == [
        ("remediate", EVERYWHERE, "lapsed", None),
        ("remediate", "folders/421", "lapsed", None),
    ]
    assert world.ledger.modes().asked == {}
    assert broken_switches(world.ledger.modes(), changes) is None


def race(world: World, *words: tuple[str, Mode | None]) -> list[Modes]:
    ready = threading.Barrier(len(words))

    def say(word: tuple[str, Mode | None]) -> Modes:
        ready.wait(30)
        return asks(world, word[0], word[1])

    with ThreadPoolExecutor(len(words)) as pool:
        return list(pool.map(say, words))


@EACH_LEDGER
def test_of_two_who_confirm_at_once_one_does(world: World) -> None:
    asks(world, ANA, ENFORCE)
    people = [BO, "cy@example.com", "di@example.com"]
    found = race(world, *((each, ENFORCE) for each in people))
    assert {tuple(each.switches.items()) for each in found} == {((EVERYWHERE, ENFORCE),)}
    changes = list(world.ledger.mode_changes())
    assert len(changes) == 2
    assert (changes[1].asked_by, changes[1].after) == (f"user:{ANA}", ENFORCE)


@EACH_LEDGER
def test_of_a_confirmation_and_a_dry_run_at_once_the_stricter_stands(world: World) -> None:
    for number in range(5):
        asks(world, ANA, ENFORCE)
        race(world, (BO, ENFORCE), (f"cy{number}@example.com", DRY_RUN))
        assert world.ledger.modes().switches == {EVERYWHERE: DRY_RUN}
        asks(world, ANA, DRY_RUN)
    assert broken_switches(world.ledger.modes(), list(world.ledger.mode_changes())) is None


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


@given(_switches, _switches, st.sampled_from([None, ENFORCE, DRY_RUN]))
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
    if modes.loosened:
        assert broken_switches(replace(modes, loosened=()), changes) is not None
    for scope, request in modes.asked.items():
        forged = {**modes.asked, scope: replace(request, actor="user:eve@example.com")}
        assert broken_switches(replace(modes, asked=forged), changes) is not None


def test_a_confirmation_that_nobody_asked_for_breaks_the_trail() -> None:
    def forged(asked_by: str, actor: str, hours: int) -> str | None:
        first = switched(Modes(), EVERYWHERE, ENFORCE, actor=f"user:{ANA}", now=NOON, note="x", alone=False)
        assert first is not None
        modes, asked = first
        at = to_rfc3339(NOON + timedelta(hours=hours))
        change = ModeChange(2, at, actor, EVERYWHERE, None, ENFORCE, "x", asked.hash, asked_by=asked_by)
        change = replace(change, hash=digest(change))
        return broken_switches(applied(modes, change), [asked, change])

    assert forged(f"user:{ANA}", f"user:{BO}", 1) is None
    for wrong in ((f"user:{BO}", f"user:{BO}", 1), (f"user:{ANA}", f"user:{ANA.upper()}", 1)):
        assert forged(*wrong) is not None
    assert forged(f"user:{ANA}", f"user:{BO}", 24) is not None


def test_an_old_change_keeps_its_hash() -> None:
    change = ModeChange(1, to_rfc3339(NOON), f"user:{ANA}", EVERYWHERE, None, ENFORCE, "go", "")
    assert digest(change) == "4621736e0c78277432c3ba3ea6b6771c0050295135a9051e15846e6423919200"
    sealed = replace(change, hash=digest(change))
    assert broken_switches(Modes({EVERYWHERE: ENFORCE}, trail=1, trail_hash=sealed.hash), [sealed]) is None


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


def test_nobody_pushes_their_own_switch_out_of_memory_by_others() -> None:
    modes = Modes()
    for number in range(200):
        found = switched(modes, f"folders/{number + 1}", ENFORCE, actor=f"user:{ANA}", now=NOON, note="x", alone=True)
        assert found is not None
        modes = found[0]
    assert len(modes.loosened) <= 51
    for number in range(200):
        assert loosened_by(modes, [Place(frozenset({f"folders/{number + 1}"}))], NOON) == {f"user:{ANA}"}
    assert loosened_by(modes, [PLACES[0]], NOON + OPEN_FOR) == frozenset()


def test_what_was_held_for_a_day_can_be_approved_at_once(world: World) -> None:
    """That a rule may not grant now changes nothing of what a reviewer decides about."""
    asks(world, ANA, ENFORCE)
    asks(world, BO, ENFORCE)
    entry = own(ANA, "1")
    world.logs.written = lambda _: entry
    handled = world.instance(None).handle(denial(entry))
    assert handled.remediation is not None
    assert Reason.OWN_SWITCH in handled.remediation.reasons
    assert world.instance(None).approve(handled.remediation.id, actor=BO).written


def test_what_a_rule_approved_before_a_crash_waits_for_the_day_after_ones_own_switch(world: World) -> None:
    entry = own(ANA, "1")
    world.logs.written = lambda _: entry
    crashing = Crashing(world.registry, itertools.count(1), 3, after=False)
    with pytest.raises(Crash):
        world.instance(ENFORCE, registry=crashing).handle(denial(entry))
    [record] = world.records().values()
    assert record.lifecycle.approver == "rule:same project"
    asks(world, ANA, DRY_RUN)
    asks(world, ANA, None)
    asks(world, BO, None)
    service = world.instance(ENFORCE)
    assert service.handle(denial(entry)).duplicate
    assert list(service.sweep()) == []
    assert world.registry.writes == 0
    world.now += OPEN_FOR
    [done] = service.sweep()
    assert done.remediation is not None
    assert (done.remediation.state, world.registry.writes) == (State.GRANTED, 1)


def test_a_loosening_bars_where_it_loosened() -> None:
    at = NOON.isoformat()
    modes = Modes(loosened=(Loosening("projects/other", (f"user:{ANA}",), at),))
    assert loosened_by(modes, [PLACES[0]], NOON) == frozenset()
    assert loosened_by(modes, [PLACES[0], PLACES[1]], NOON) == {f"user:{ANA}"}
    assert loosened_by(modes, [Place(frozenset(), whole=False)], NOON) == {f"user:{ANA}"}
    assert loosened_by(modes, [PLACES[1]], NOON + OPEN_FOR) == frozenset()


def test_a_policy_text_in_cloud_storage_grants_once_two_people_confirmed_it(world: World) -> None:
    remote = parse_policy(GRANTS, "gs://policies/policy.yaml")
    assert remote.to_confirm is not None
    sha256 = remote.to_confirm.sha256
    assert (len(sha256), remote.to_confirm.text) == (64, GRANTS)
    assert parse_policy(GRANTS, "policy.yaml").to_confirm is None
    assert parse_policy("rules: [{name: all, when: 'true', then: ask}]", "gs://p/policy.yaml").to_confirm is None

    def outcome(insert_id: str) -> tuple[Outcome, bool]:
        entry = own("github-deployer@shop-frontend.iam.gserviceaccount.com", insert_id)
        world.logs.written = lambda _: entry
        decision = world.instance(ENFORCE, rules=lambda: remote).handle(denial(entry)).decision
        return decision.outcome, Reason.POLICY_UNCONFIRMED in decision.reasons

    assert outcome("1") == (Outcome.ASK, True)
    vouched = world.instance(ENFORCE, rules=lambda: remote, policy_confirmed=sha256)
    assert vouched.policy_to_confirm() is None  # an operator deployed it
    other = parse_policy(GRANTS + " ", "gs://policies/policy.yaml")
    assert world.instance(ENFORCE, rules=lambda: other, policy_confirmed=sha256).policy_to_confirm() is not None
    service = world.instance(ENFORCE, rules=lambda: remote, reviewers=NOBODY_ALONE)
    confirm = service.switching.confirm_policy
    assert confirm(sha256, actor=ANA, note="read it").policy == ""
    assert confirm(sha256, actor=ANA, note="again").policy == ""
    assert confirm(sha256[:12] + "0" * 52, actor=BO, note="another text, as its first digits are").policy == ""
    assert confirm(sha256, actor=ANA, note="read it again").policy == ""
    assert service.policy_to_confirm() == remote.to_confirm
    assert confirm(sha256, actor=BO, note="read it too").policy == sha256
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
