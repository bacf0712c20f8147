"""Each branch of the decider: which evidence it collects, and what a rule or a fault makes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediate.decisions.policy import BuiltIn, Decision, Mode, Outcome
from remediate.decisions.policy_file import parse_policy
from remediate.errors import Refused, TerminalFault
from remediate.iam.grant import ROLE
from remediate.reasons import Reason
from remediate.records.remediation import Remediation
from remediate.records.states import State
from tests.audit_entries import DEPLOYER, IMAGE, REPOSITORY, activity, denial, deployed, policy_set
from tests.policies import WIDER
from tests.service.helpers import (
    ANA,
    BO,
    DAY,
    MEMBER,
    Crash,
    Overlaid,
    Registry,
    asks,
    crash,
    cross,
    proposed,
    same,
    same_entry,
    state,
)
from tests.service.world import REVIEWER, SAME_REPOSITORY, World

MONTH = timedelta(days=30)
SIDECARS = "projects/platform-images/locations/us/repositories/sidecars"


def rules(when: str, then: str, **more: Any) -> Any:
    said = "".join(f", {name}: {value}" for name, value in more.items())
    file = parse_policy(f"rules: [{{name: only, when: '{when}', then: {then}{said}}}]", "policy.yaml")
    return lambda: file


def stored(world: World, ident: str) -> Remediation:
    found = world.ledger.get(ident)
    assert found
    return found


def test_googles_final_no_is_a_refusal_in_googles_words(world: World) -> None:
    def forbidden(*_: Any) -> None:
        raise TerminalFault("getIamPolicy: 403 no")

    service = world.instance(registry=Overlaid(world.registry, describe=forbidden))
    refused = Decision(Outcome.REFUSE, "invariants", (Reason.TERMINAL_ANSWER,), note="getIamPolicy: 403 no")
    handled = service.handle(cross())
    assert handled.decision == refused
    assert handled.remediation
    assert [step.note for step in world.ledger.trail(handled.remediation.id)] == ["getIamPolicy: 403 no"]


def test_a_denial_that_names_no_repository_is_decided_by_the_policy_too(world: World) -> None:
    nameless = replace(cross(), repository=None)
    handled = world.instance(rules=rules("true", "refuse")).handle(nameless)
    assert (handled.decision.outcome, handled.decision.rule) == (Outcome.REFUSE, "only")


def test_a_rule_for_predictions_sees_the_past_of_the_predicted_member(world: World) -> None:
    world.registry.policies[SIDECARS] = []
    never = rules("evidence.predicted && evidence.previously_deployed", "refuse")

    def members(insert_id: str) -> set[str]:
        entry = activity(images=(IMAGE, "us-docker.pkg.dev/platform-images/sidecars/envoy:v1"), insert_id=insert_id)
        handled = world.instance(rules=never).handle(denial(entry))
        there = [stored(world, each) for each in handled.partners]
        return {each.member for each in there if each.repository == SIDECARS}

    world.logs.deployed.add(MEMBER)
    assert MEMBER not in members("1")
    world.logs.deployed.clear()
    world.now += DAY  # the past is remembered for a while
    assert MEMBER in members("2")


def test_a_rule_for_denials_sees_the_past_of_the_denied_member(world: World) -> None:
    world.logs.deployed.add(MEMBER)
    never = rules("!evidence.predicted && evidence.previously_deployed", "refuse")
    assert world.instance(rules=never).handle(cross()).decision.outcome is Outcome.REFUSE


def test_a_rule_may_look_at_removed_access_alone(world: World) -> None:
    world.logs.log.append(
        policy_set(REPOSITORY, ("REMOVE", ROLE, MEMBER), at=world.now - DAY, project="platform-images")
    )
    decision = world.instance(rules=rules("evidence.access_removed", "refuse")).handle(cross()).decision
    assert (decision.outcome, decision.rule) == (Outcome.REFUSE, "only")


def test_a_prediction_is_asked_on_the_terms_of_the_policy_in_force(world: World) -> None:
    [agent] = world.instance(rules=rules("evidence.predicted", "ask", approvals=2)).handle(cross()).partners
    assert (stored(world, agent).terms.rule, stored(world, agent).terms.approvals_needed) == ("only", 2)
    with pytest.raises(Refused, match="changed since it was proposed"):
        world.instance().approve(agent, actor=REVIEWER)


def test_a_predicted_proposal_is_approved_as_a_predicted_one(world: World) -> None:
    service = world.instance(rules=rules("!evidence.predicted", "refuse"))
    assert service.handle(cross()).decision.outcome is Outcome.REFUSE
    lenient = rules("evidence.predicted", "ask")
    [agent] = world.instance(rules=lenient).handle(denial(activity(insert_id="2", email="ana@example.com"))).partners
    assert world.instance(rules=lenient).approve(agent, actor=REVIEWER).written


def test_nothing_is_predicted_where_google_gives_a_final_no(world: World) -> None:
    two = (IMAGE, "us-docker.pkg.dev/platform-images/sidecars/envoy:v1")

    def forbidden(repository: Any) -> Any:
        if repository.name == "sidecars":
            raise TerminalFault("get repository: 403")
        return world.registry.describe(repository)

    entry = activity(images=two)
    handled = world.instance(registry=Overlaid(world.registry, describe=forbidden)).handle(denial(entry))
    assert handled.remediation
    assert [stored(world, each).repository for each in handled.partners] == [REPOSITORY]


def test_a_rule_counts_denials_this_one_included(world: World) -> None:
    third = rules("evidence.denials >= 3", "refuse")
    outcomes = [world.instance(rules=third).handle(cross(str(number))).decision.outcome for number in range(4)]
    assert outcomes == [Outcome.ASK, Outcome.ASK, Outcome.REFUSE, Outcome.REFUSE]


def test_the_first_denial_is_one(world: World) -> None:
    second = rules("evidence.denials >= 2", "refuse")
    assert world.instance(rules=second).handle(cross("1")).decision.outcome is Outcome.ASK


def test_an_approval_counts_the_denials_too(world: World) -> None:
    record = proposed(world, "1")
    world.instance().handle(cross("2"))
    with pytest.raises(Refused, match="is now refused"):
        world.instance(rules=rules("evidence.denials >= 3", "refuse")).approve(record.id, actor=REVIEWER)


def test_a_page_shows_all_evidence_with_what_a_revocation_left(world: World) -> None:
    world.logs.deployed.add(MEMBER)
    record = proposed(world)
    seen = world.instance().evidence(record.id)
    assert (seen.denials, seen.previously_deployed, seen.access_removed) == (2, True, False)
    world.instance().approve(record.id, actor=REVIEWER)
    world.instance().revoke(record.id, actor=REVIEWER, note="no")
    assert world.instance().evidence(record.id).access_removed is True


def granted_by_rule(world: World, policy: Any) -> Remediation:
    world.logs.deployed.add(MEMBER)
    record = world.instance(Mode.ENFORCE, rules=policy).handle(same("1")).remediation
    assert record
    assert record.state is State.GRANTED
    return record


def use(world: World) -> None:
    """The member deploys again, now."""
    grant = same().grant
    world.logs.log.append(deployed(grant.member, "shop-frontend", grant.repository, world.now - timedelta(hours=1)))


def test_a_used_grant_is_renewed_for_the_configured_days_whatever_a_later_denial_said(world: World) -> None:
    week = BuiltIn(7)
    record = granted_by_rule(world, lambda: week)
    unsure = same_entry("2")
    unsure["protoPayload"]["authorizationInfo"] = []
    unsure["protoPayload"]["request"] = {}
    world.instance(Mode.ENFORCE, rules=lambda: week).handle(denial(unsure))
    assert stored(world, record.id).tally.authorized is None or stored(world, record.id).tally.authorized is False
    world.now += 6 * DAY
    use(world)
    list(world.instance(Mode.ENFORCE, rules=lambda: week).sweep())
    renewed = stored(world, record.id)
    assert renewed.state is State.GRANTED
    assert renewed.lifecycle.expires == (world.now + 7 * DAY).isoformat(timespec="microseconds").replace("+00:00", "Z")


def test_a_grant_by_a_policy_files_rule_is_not_renewed(world: World) -> None:
    file = rules("true", "grant", expires_after="30d")
    record = granted_by_rule(world, file)
    world.now += 29 * DAY
    use(world)
    list(world.instance(Mode.ENFORCE, rules=file).sweep())
    assert stored(world, record.id).lifecycle.expires == record.lifecycle.expires


def test_a_rule_grants_again_once_the_hold_is_over_and_not_before(world: World) -> None:
    record = granted_by_rule(world, lambda: WIDER)
    world.instance().revoke(record.id, actor=DEPLOYER, note="mine")
    world.now += MONTH - timedelta(microseconds=1)
    assert world.instance(Mode.ENFORCE).handle(same("2")).decision.outcome is Outcome.ASK
    world.now += timedelta(microseconds=1)
    assert world.instance(Mode.ENFORCE).handle(same("3")).written
    assert world.registry.readers(SAME_REPOSITORY) == [MEMBER]
    assert state(world, record.id) is State.GRANTED


def test_a_prediction_is_approved_on_the_past_that_its_member_has_by_then(world: World) -> None:
    world.registry.policies[SIDECARS] = []
    never = rules("evidence.predicted && evidence.previously_deployed", "refuse")
    entry = activity(images=(IMAGE, "us-docker.pkg.dev/platform-images/sidecars/envoy:v1"))
    partners = world.instance(rules=never).handle(denial(entry)).partners
    [sidecar] = [
        each for each in partners if (stored(world, each).repository, stored(world, each).member) == (SIDECARS, MEMBER)
    ]
    world.logs.deployed.add(MEMBER)
    world.now += DAY
    with pytest.raises(Refused, match="is now refused"):
        world.instance(rules=never).approve(sidecar, actor=REVIEWER)


def test_a_switch_to_dry_run_stops_a_renewal_that_has_begun(world: World) -> None:
    week = BuiltIn(7)
    record = granted_by_rule(world, lambda: week)
    world.now += 6 * DAY
    use(world)
    looked: list[int] = []

    def describe(repository: Any) -> Any:
        looked.append(1)
        world.instance().switch("everywhere", Mode.DRY_RUN, actor=REVIEWER, note="stop")
        return world.registry.describe(repository)

    service = world.instance(Mode.ENFORCE, rules=lambda: week, registry=Overlaid(world.registry, describe=describe))
    list(service.sweep())
    assert looked
    assert stored(world, record.id).lifecycle.expires == record.lifecycle.expires


def test_a_switch_of_the_deployers_own_holds_a_rules_word_and_no_persons(world: World) -> None:
    entry = activity(insert_id="1", email=ANA)
    record = world.instance().handle(denial(entry)).remediation
    assert record
    with pytest.raises(Crash):
        world.instance(registry=Registry(world, add_reader=crash)).approve(record.id, actor=REVIEWER)
    asks(world, ANA, Mode.DRY_RUN)
    asks(world, ANA, None)
    asks(world, BO, None)
    assert world.instance(Mode.ENFORCE).handle(denial(entry)).written
